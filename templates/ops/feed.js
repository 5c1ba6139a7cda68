// The live feed: one WebSocket to /ws/ops. docs/OPERATIONS.md describes its frames.

import { Connection, webSocketUrl } from "../../clients/javascript/connection.mjs";

/** The server sends a frame each second, so after this long without one the connection counts as lost. */
const SILENCE_MS = 8000;

/** Handlers by type of frame, and of events of the connection; set by page.js. */
export const handlers = {};
export const on = { ready() {}, status() {}, signInEnds() {} };

export let connection = null;
export const isReady = () => Boolean(connection?.isReady);
export const send = (frame) => isReady() && connection.send(frame);

/** Connects as the operator, and stays connected until the sign-in is over. */
export function connect(signIn) {
  disconnect();
  const handshake = (token) => ({ url: webSocketUrl("/ws/ops", location.href), firstFrame: { type: "auth", token } });
  connection = new Connection(signIn, handshake, {
    pingAfterMs: 0,
    pongWithinMs: SILENCE_MS,
    // Not after the end of the sign-in or a kick: the page shows the reason.
    mayReconnect: (code) => code !== 4401 && code !== 4403,
    onReady: (frame, isNew) => on.ready(frame, isNew),
    onStatus: (status) => on.status(status),
    onRenewalRefused: (error) => on.signInEnds(error),
    onFrame: (frame) => handlers[frame.type]?.(frame),
  });
  connection.open();
}

export function disconnect() {
  connection?.close();
  connection = null;
}
