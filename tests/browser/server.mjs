// The program itself, in a folder of its own, so that a test can kill it and start it again.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export class Server {
  #binary;
  #settings;
  #folder = mkdtempSync(join(tmpdir(), "switchboard-browser-"));
  #child = null;
  #port = 0;

  /** `settings` are environment variables without their prefix, such as `PROVIDER__KIND`. */
  constructor(binary, settings) {
    this.#binary = binary;
    this.#settings = Object.fromEntries(
      Object.entries({ PROVIDER__KIND: "scripted", KNOWLEDGE__SEED: "false", SERVER__WORKERS: "1", ...settings }).map(
        ([name, value]) => [`SWITCHBOARD__${name}`, String(value)],
      ),
    );
  }

  /** Starts it; again on the same port and data. */
  async start() {
    const log = openSync(join(this.#folder, "log"), "a");
    const child = spawn(this.#binary, ["serve", "--port", String(this.#port)], {
      cwd: this.#folder,
      env: { ...process.env, ...this.#settings },
      stdio: ["ignore", "pipe", log],
    });
    this.#child = child;
    const line = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).once("line", resolve);
      child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    });
    this.url = new URL(line.split(" ").find((word) => word.startsWith("http://")));
    this.#port = this.url.port;
    return this;
  }

  /** Runs another command of the program, such as `user set-role`, on the same data. */
  run(...args) {
    execFileSync(this.#binary, args, {
      cwd: this.#folder,
      env: { ...process.env, ...this.#settings },
      stdio: ["ignore", "ignore", "inherit"],
    });
  }

  /** Stops its process where it is; what is sent to it waits in the kernel. */
  pause() {
    this.#child.kill("SIGSTOP");
  }

  /** kill -9. */
  async kill() {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await ended;
  }

  async remove() {
    if (this.#child?.exitCode === null && this.#child.signalCode === null) await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
