// One account's equity, live: a client of the protocol in docs/PROTOCOL.md, and a view of what it says.
//
// Money stays in whole cents until it is written out. Everything the server says is set as text, never as markup.

const POSITIONS_EVERY_MS = 2000; // the bridge allows 100 requests a minute
const PING_EVERY_MS = 10000;
const ANSWER_WITHIN_MS = 5000;
const CHART_MS = 120000;
const POINT_MS = 100; // closer ones fall together, so that the chart has 1,200 at most
const RETRY_MS_MAX = 10000;

// After these the same attempt would end the same way.
const FINAL_CODES = new Set([1002, 1003, 1007, 1008, 1009, 4400, 4401, 4403, 4404, 4408, 4410]);

const element = (id) => document.getElementById(id);
const show = (id, text) => { element(id).textContent = text; };

// --- numbers as people read them ------------------------------------------------------------------------------

function grouped(digits) {
  return digits.replace(/\B(?=(\d{3})+$)/g, ",");
}

function money(cents, signed = false) {
  const digits = String(Math.abs(cents)).padStart(3, "0");
  const sign = cents < 0 ? "−" : signed && cents > 0 ? "+" : "";
  return `${sign}$${grouped(digits.slice(0, -2))}.${digits.slice(-2)}`;
}

function shares(bp) {
  const digits = String(Math.abs(bp)).padStart(5, "0");
  const rest = digits.slice(-4).replace(/0+$/, "");
  return `${bp < 0 ? "−" : ""}${grouped(digits.slice(0, -4))}${rest ? "." + rest : ""}`;
}

function percent(value) {
  const sign = value < 0 ? "−" : value > 0 ? "+" : "";
  return `${sign}${Math.abs(value).toFixed(2)} %`;
}

function time(ms) {
  return new Date(ms).toLocaleTimeString();
}

// --- the socket -----------------------------------------------------------------------------------------------

class Client {
  // Connects, authenticates and subscribes; again after every loss that allows it. `tokenOf` is asked each time.
  constructor(tokenOf, view) {
    this.tokenOf = tokenOf;
    this.view = view;
    this.waiting = new Map();
    this.nextId = 1;
    this.attempt = 0;
    this.ended = false;
    this.open();
  }

  async open() {
    this.view.state("connecting", "Connecting");
    let token;
    try {
      token = await this.tokenOf();
    } catch {
      this.retry("No token");
      return;
    }
    if (this.ended) return;
    this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    this.socket.onopen = () => this.begin(token);
    this.socket.onmessage = (event) => this.take(JSON.parse(event.data));
    this.socket.onclose = (event) => this.lost(event);
  }

  async begin(token) {
    try {
      await this.call("auth.jwt", { token });
      await this.call("equity.subscribe");
    } catch {
      return; // its close says why
    }
    this.attempt = 0;
    this.view.state("live", "Live");
    this.pinging = setInterval(() => this.call("ping").catch(() => this.socket.close(4000)), PING_EVERY_MS);
  }

  call(method, params = {}) {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => { this.waiting.delete(id); reject(new Error("no answer")); }, ANSWER_WITHIN_MS);
      this.waiting.set(id, { resolve, reject, timer });
      if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ id, method, params }));
    });
  }

  take(frame) {
    if (frame.stream === "equity") {
      this.view.equity(frame);
    } else if (frame.stream === "status") {
      this.status(frame);
    } else if (this.waiting.has(frame.id)) {
      const { resolve, reject, timer } = this.waiting.get(frame.id);
      this.waiting.delete(frame.id);
      clearTimeout(timer);
      if (frame.error) reject(new Error(frame.error.message));
      else resolve(frame.result);
    }
  }

  async status(frame) {
    if (frame.status === "live") {
      this.view.state("live", "Live");
    } else if (frame.status === "stale") {
      this.view.state("stale", `Stale since ${time(frame.since)}`);
    } else if (frame.status === "expiring") {
      try {
        await this.call("auth.jwt", { token: await this.tokenOf() });
      } catch {
        return; // the bridge closes
      }
    }
  }

  lost(event) {
    this.forget();
    if (this.ended) return;
    if (FINAL_CODES.has(event.code)) this.view.state("closed", event.reason || `Closed (${event.code})`);
    else this.retry(event.reason || "Connection lost");
  }

  retry(why) {
    const wait = Math.min(RETRY_MS_MAX, 500 * 2 ** this.attempt++) * (0.5 + Math.random() / 2);
    this.view.state("connecting", `${why}; trying again`);
    this.retrying = setTimeout(() => this.open(), wait);
  }

  forget() {
    clearInterval(this.pinging);
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(new Error("closed"));
    }
    this.waiting.clear();
  }

  end() {
    this.ended = true;
    clearTimeout(this.retrying);
    this.forget();
    this.socket?.close();
  }
}

// --- the view -------------------------------------------------------------------------------------------------

const sign = (number) => String(Math.sign(number));

class View {
  constructor() {
    this.points = [];
    this.frames = 0;
    this.skipped = 0;
    this.base = 0;
    this.onequity = () => {};
    document.title = "Equity";
    this.positions([]);
  }

  state(name, text) {
    element("badge").dataset.state = name;
    show("badge-text", text);
    element("now").toggleAttribute("data-stale", name !== "live");
  }

  equity(frame) {
    const equity = frame.data;
    this.frames += 1;
    this.skipped += frame.conflated;
    this.base = equity.total_equity - equity.day_change;
    show("total-equity", money(equity.total_equity));
    const change = element("day-change");
    change.textContent = `${money(equity.day_change, true)} (${percent(equity.day_change_percent)}) today`;
    change.dataset.sign = element("course").dataset.sign = sign(equity.day_change);
    show("cash", money(equity.cash_balance));
    show("position-value", money(equity.position_value));
    this.signed(element("unrealized"), equity.unrealized_pnl);
    this.signed(element("realized"), equity.realized_pnl);
    show("tick", grouped(String(equity.tick)));
    show("version", String(frame.version));
    show("valued", time(equity.timestamp * 1000));
    show("frames", grouped(String(this.frames)));
    show("skipped", grouped(String(this.skipped)));
    element("flags").hidden = frame.flags.length === 0;
    show("flags", frame.flags.map((flag) => flag.replaceAll("_", " ").toLowerCase()).join(", "));
    document.title = `${money(equity.total_equity)} · Equity`;
    this.plot(performance.now(), equity.total_equity);
    this.onequity();
  }

  signed(cell, cents) {
    cell.textContent = money(cents, true);
    cell.dataset.sign = sign(cents);
  }

  plot(at, cents) {
    const last = this.points.at(-1);
    if (last && at - last.at < POINT_MS) last.cents = cents;
    else this.points.push({ at, cents });
    this.draw();
  }

  draw() {
    const end = performance.now();
    // The last point before the window stays, so that the line enters it from the left.
    while (this.points.length > 2 && this.points[1].at < end - CHART_MS) this.points.shift();
    if (this.points.length === 0) return;
    const start = Math.max(end - CHART_MS, this.points[0].at);
    const values = this.points.map((point) => point.cents);
    let low = Math.min(...values);
    let high = Math.max(...values);
    // The session's base is drawn unless it is so far off that the line would be flat.
    const withBase = Math.max(high, this.base) - Math.min(low, this.base) <= 3 * Math.max(high - low, 1);
    if (withBase) [low, high] = [Math.min(low, this.base), Math.max(high, this.base)];
    const span = Math.max(high - low, 1);
    const x = (at) => (1000 * Math.max(at - start, 0)) / Math.max(end - start, 1);
    const y = (cents) => 255 - (210 * (cents - low)) / span; // above and below is room for the labels
    const ground = withBase ? y(this.base) : 300;
    const steps = this.points.flatMap((point, index) => {
      const until = this.points[index + 1]?.at ?? end;
      return [`${x(point.at)},${y(point.cents)}`, `${x(until)},${y(point.cents)}`];
    });
    element("line").setAttribute("points", steps.join(" "));
    element("area").setAttribute("points", `0,${ground} ${steps.join(" ")} 1000,${ground}`);
    element("base").setAttribute("y1", ground);
    element("base").setAttribute("y2", ground);
    element("waiting").hidden = this.points.length > 1;
    show("highest", money(high));
    show("lowest", high === low ? "" : money(low));
    show("base-label", `${withBase ? "┄ " : ""}session base ${money(this.base)}`);
    show("window", `last ${Math.max(1, Math.round((end - start) / 1000))} s`);
  }

  positions(rows) {
    const open = rows.filter((row) => row.quantity_bp !== 0);
    const closed = rows.filter((row) => row.quantity_bp === 0);
    element("positions").replaceChildren(...[...open, ...closed].map((row) => this.row(row)));
    element("no-positions").hidden = rows.length > 0;
  }

  row(position) {
    const row = document.createElement("tr");
    const cell = (text) => {
      const created = row.insertCell();
      created.textContent = text;
      return created;
    };
    row.toggleAttribute("data-closed", position.quantity_bp === 0);
    cell(`#${position.symbol_id}`);
    cell(position.quantity_bp === 0 ? "closed" : shares(position.quantity_bp));
    cell(position.quantity_bp === 0 ? "" : money(position.avg_cost));
    const price = cell(position.mark_price ? money(position.mark_price) : "");
    if (position.mark_source === "COST") price.append(this.small(" cost"));
    cell(position.quantity_bp === 0 ? "" : money(position.market_value));
    this.signed(cell(""), position.unrealized_pnl);
    this.signed(cell(""), position.realized_pnl);
    return row;
  }

  small(text) {
    const created = document.createElement("small");
    created.textContent = text;
    return created;
  }
}

// --- who is looked at -----------------------------------------------------------------------------------------

let client;
let view;
let refresh = () => {};

function follow(tokenOf) {
  client?.end();
  const shown = (view = new View());
  const asking = (client = new Client(tokenOf, shown));
  let changed = false;
  let asked = -POSITIONS_EVERY_MS;
  refresh = async () => {
    if (!changed || performance.now() - asked < POSITIONS_EVERY_MS) return;
    changed = false;
    asked = performance.now();
    try {
      const held = await asking.call("positions.list");
      if (shown === view) shown.positions(held.positions);
    } catch {
      changed = true; // asked again in a while
    }
  };
  shown.onequity = () => { changed = true; refresh(); };
}

async function demoToken(account) {
  const answer = await fetch(`/demo/token?account=${encodeURIComponent(account)}`);
  if (!answer.ok) throw new Error("no token");
  return (await answer.json()).token;
}

function startDemo(accounts) {
  const chooser = element("account");
  for (const { id, name } of accounts) chooser.add(new Option(`${id} · ${name}`, id));
  const followHash = () => {
    const asked = location.hash.slice(1);
    chooser.value = accounts.some(({ id }) => String(id) === asked) ? asked : String(accounts[0].id);
    follow(() => demoToken(chooser.value));
  };
  chooser.onchange = () => { location.hash = chooser.value; };
  window.onhashchange = followHash;
  element("chooser").hidden = false;
  followHash();
}

function startWithToken() {
  const form = element("sign-in");
  form.hidden = false;
  view = new View();
  view.state("closed", "Not signed in");
  form.onsubmit = (event) => {
    event.preventDefault();
    const token = element("token").value.trim();
    element("token").value = "";
    follow(async () => token);
  };
}

setInterval(() => { view?.draw(); refresh(); }, 1000);
const answer = await fetch("/demo/accounts");
const accounts = answer.ok ? await answer.json() : [];
if (accounts.length > 0) startDemo(accounts);
else startWithToken();
