// A frontend in fifty lines: who I am, what I want, and what comes (docs/PROTOCOL.md).
// It does not reconnect and knows no history; @evs/client in clients/web does.

const element = (id) => document.getElementById(id);

/** Dollars of whole cents. Dividing is for display alone: sums are made of cents. */
const dollars = (cents) => (cents / 100).toLocaleString("en-US", { style: "currency", currency: "USD" });

function show({ data, version }) {
  element("equity").textContent = dollars(data.total_equity);
  element("today").textContent = `${dollars(data.day_change)} (${data.day_change_percent} %)`;
  element("equity").dataset.version = version;
}

function follow(bridge, token) {
  const socket = new WebSocket(bridge);
  const say = (text) => (element("status").textContent = text);
  const asked = new Map(); // what a request's answer is for, by the request's id

  function ask(method, params, then) {
    asked.set(asked.size + 1, then);
    socket.send(JSON.stringify({ id: asked.size, method, params }));
  }

  socket.onopen = () => {
    // The token goes into the first message, never into the address. It says whose account this is.
    ask("auth.jwt", { token }, ({ account_id }) => {
      say(`Account ${account_id}`);
      ask("equity.subscribe", {}, () => say(`Account ${account_id}: live`));
    });
  };
  socket.onmessage = (event) => {
    const frame = JSON.parse(event.data);
    if (frame.stream === "equity") show(frame);
    else if (frame.stream === "status" && frame.status === "stale") say("EVS is away: the last value stands");
    else if (frame.stream === "status" && frame.status === "live") say("Live again");
    else if (frame.error) say(`${frame.error.code}: ${frame.error.message}`);
    else if (frame.id) asked.get(frame.id)?.(frame.result); // what is unknown is ignored: more may come
  };
  socket.onclose = ({ code, reason }) => say(`Closed: ${code} ${reason}`);
}

document.querySelector("form").onsubmit = (event) => {
  event.preventDefault();
  const { bridge, token } = event.target.elements;
  follow(bridge.value, token.value.trim());
};
