// node chat_web_socket.mjs ws://localhost:8000/ws/chat TOKEN
//
// The JavaScript program of the prototype's report, with the class that it uses. Do not modernise it: programs like this one are
// what `chat.v1` is kept for.

class ChatWebSocket {
  constructor(url, token) {
    this.url = url;
    this.token = token;
    this.onMessage = null;
    this.waiting = [];
    this.authenticated = false;
  }

  connect() {
    this.ws = new WebSocket(this.url);
    this.ws.onopen = () => this.ws.send(JSON.stringify({ type: "auth", token: this.token }));
    this.ws.onmessage = (event) => {
      const data = JSON.parse(event.data);
      switch (data.type) {
        case "auth_success":
          this.authenticated = true;
          for (const message of this.waiting.splice(0)) this.sendMessage(message);
          break;
        case "token":
          if (this.onMessage) this.onMessage(data.token, data.partial_response);
          break;
        case "complete":
          this.ws.close();
          break;
      }
    };
  }

  sendMessage(message) {
    if (!this.authenticated) return this.waiting.push(message);
    this.ws.send(JSON.stringify({ type: "message", message }));
  }
}

const [url, token] = process.argv.slice(2);

const ws = new ChatWebSocket(url, token);
ws.onMessage = (token) => process.stdout.write(token);
ws.connect();
ws.sendMessage("What are the engine specifications?");
