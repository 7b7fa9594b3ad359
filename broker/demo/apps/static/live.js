// The live WebSocket: one message a second from the server, and an echo of what is sent. When the
// connection ends it is opened again, at growing intervals.
const live = { count: 0, wait: 1000, socket: null };
const at = (id) => document.getElementById(id);

function showLive(text, on) {
  at("live-state").textContent = text;
  at("live-dot").classList.toggle("on", on);
}

function connect() {
  const socket = new WebSocket(`wss://${location.host}/live`);
  live.socket = socket;
  socket.onopen = () => { live.wait = 1000; showLive("connected", true); };
  socket.onclose = () => {
    showLive("reconnecting", false);
    setTimeout(connect, live.wait * (0.75 + Math.random() / 2));
    live.wait = Math.min(live.wait * 2, 30000);
  };
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    live.count += 1;
    at("live-count").textContent = live.count;
    if (message.type === "tick") {
      at("live-time").textContent = new Date(message.time).toLocaleTimeString();
    } else {
      at("live-trip").textContent = `${Math.round(performance.now() - live.sent)} ms`;
      const line = document.createElement("li");
      line.textContent = message.text;
      at("echoes").prepend(line);
      while (at("echoes").children.length > 4) at("echoes").lastChild.remove();
    }
  };
}

at("echo").addEventListener("submit", (event) => {
  event.preventDefault();
  if (live.socket?.readyState !== WebSocket.OPEN) return;
  live.sent = performance.now();
  live.socket.send(at("echo-text").value);
  at("echo-text").value = "";
});

if (location.protocol === "https:") connect();
else showLive("only through the broker", false);
