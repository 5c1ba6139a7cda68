// A TCP proxy between the browser and the server that can cut a WebSocket in the middle of a frame.

import net from "node:net";

const TOKEN_FRAME = Buffer.from('"type":"token"');

export class CuttingProxy {
  cuts = 0;
  #armed = null;
  #sockets = new Set();
  #server;

  /** Listens on a free port and passes everything on to `target`, a URL. */
  static async start(target) {
    const proxy = new CuttingProxy();
    const port = target.port || 80;
    proxy.#server = net.createServer((client) => proxy.#serve(client, net.connect(port, target.hostname)));
    await new Promise((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    proxy.url = `http://127.0.0.1:${proxy.#server.address().port}`;
    return proxy;
  }

  /** The next WebSocket that brings so many token frames is cut inside the last of them. */
  cutAfterTokenFrames(count) {
    this.#armed = { left: count };
  }

  stop() {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(client, server) {
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
    client.pipe(server);
    server.on("data", (chunk) => {
      const end = this.#cutPoint(chunk);
      if (end === null) return client.write(chunk);
      this.cuts += 1;
      server.destroy();
      client.end(chunk.subarray(0, end));
    });
    server.on("end", () => client.end());
  }

  #cutPoint(chunk) {
    for (let at = chunk.indexOf(TOKEN_FRAME); this.#armed && at >= 0; at = chunk.indexOf(TOKEN_FRAME, at + 1)) {
      this.#armed.left -= 1;
      if (this.#armed.left === 0) {
        this.#armed = null;
        return at + TOKEN_FRAME.length;
      }
    }
    return null;
  }
}
