// node through_a_cut.mjs http://localhost:8000 COMMAND ARGS…
//
// Runs the command, with {url} in its arguments replaced by the address of a proxy to the server that cuts the WebSocket
// inside its third token frame. Exits as the command does, and with 1 when nothing was cut.

import { spawn } from "node:child_process";
import { CuttingProxy } from "../browser/cutting_proxy.mjs";

const [base, command, ...args] = process.argv.slice(2);
const proxy = await CuttingProxy.start(new URL(base));
proxy.cutAfterTokenFrames(3);
const child = spawn(
  command,
  args.map((arg) => arg.replace("{url}", proxy.url)),
  { stdio: "inherit" },
);
child.on("exit", (code) => {
  proxy.stop();
  if (proxy.cuts !== 1) console.error(`${proxy.cuts} connections were cut`);
  process.exitCode = proxy.cuts === 1 ? (code ?? 1) : 1;
});
