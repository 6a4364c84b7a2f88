"use strict";
// Shows a built folder. What the data says becomes text nodes alone, never HTML. What is chosen
// stands in the address behind #: "rows?words=cat&page=2&id=a/b".

const at = (id) => document.getElementById(id);
const SHOWN = 4; // messages of what was dropped, before the rest is folded
const TABS = ["rows", "dropped", "lengths", "changes"];
const FILTERS = ["words", "source", "lang", "split", "reason", "least", "most", "order"];
const ORDERS = ["longest", "shortest", "least trained", "most trained"];
let facts, asked = 0, open = "";

function make(tag, about = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map((child) =>
    child instanceof Node ? child : document.createTextNode(String(child))));
  return node;
}

const number = (value) => Number(value).toLocaleString("en");
const share = (part, all) => `${(100 * part / Math.max(1, all)).toFixed(1)} %`;
const plural = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

async function ask(path, values = {}) {
  const filled = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined);
  const response = await fetch(`/api/${path}?${new URLSearchParams(filled)}`);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// ------------------------------------------------------------------------------ the address

function state() {
  const [tab, rest] = location.hash.slice(1).split("?", 2);
  return { tab: TABS.includes(tab) ? tab : "rows",
    ...Object.fromEntries(new URLSearchParams(rest ?? "")) };
}

function address(changes) {
  const { tab, ...values } = { ...state(), ...changes };
  const filled = Object.entries(values).filter(([, value]) => value !== "" && value != null && value !== 0);
  return `#${tab}${filled.length ? `?${new URLSearchParams(filled)}` : ""}`;
}

function go(changes) { location.hash = address(changes); }

// Text with what is looked for marked in it.
function marked(text, words) {
  if (!words) return [text];
  const parts = [], low = text.toLowerCase(), wanted = words.toLowerCase();
  if (low.length !== text.length) return [text];
  let from = 0;
  for (let hit = low.indexOf(wanted); hit >= 0; hit = low.indexOf(wanted, from)) {
    parts.push(text.slice(from, hit), make("mark", {}, text.slice(hit, hit + wanted.length)));
    from = hit + wanted.length;
  }
  return [...parts, text.slice(from)];
}

// -------------------------------------------------------------------------------- the lists

function pager(answer, page, noun) {
  const pages = Math.ceil(answer.number / answer.of);
  const turn = (to, words, about) => make("button", { type: "button", "aria-label": about, disabled: to < 0 || to >= pages,
    onclick: () => { go({ page: to, id: "" }); scrollTo(0, 0); } }, words);
  return make("div", { class: "pager" }, make("strong", {}, noun),
    pages > 1 ? turn(page - 1, "‹", "the page before") : null,
    pages > 1 ? make("span", { class: "soft small" }, `page ${number(page + 1)} of ${number(pages)}`) : null,
    pages > 1 ? turn(page + 1, "›", "the next page") : null);
}

function row(item, chosen, words) {
  const size = item.length == null ? [] :
    [`${plural(item.length, "token")}, ${share(item.trained, item.length)} trained`];
  const about = [plural(item.turns, "turn"), ...size, item.source, item.lang ?? "language unknown", item.split];
  return make("button", { class: "row", type: "button", "aria-current": item.id === chosen && "true",
    onclick: () => go({ id: item.id }) },
    make("span", { class: "text", dir: "auto" }, ...marked(item.begins || "(says nothing)", words)),
    make("span", { class: "soft small" }, about.join(" · ")),
    make("span", { class: "soft small" }, make("code", {}, item.id)));
}

async function showRows(now) {
  const answer = await ask("rows", { ...now, tab: "", id: "" });
  const noun = answer.number === facts.rows ? `all ${plural(answer.number, "conversation")}`
    : `${number(answer.number)} of ${plural(facts.rows, "conversation")}`;
  const list = answer.rows.map((item) => row(item, now.id, now.words));
  return [pager(answer, Number(now.page ?? 0), noun), ...list,
    answer.rows.length ? pager(answer, Number(now.page ?? 0), "") :
      make("p", { class: "soft" }, "No conversation fits these filters.")];
}

function entry(rows, words) {
  const [first, ...rest] = rows;
  const isKnown = (item) => item !== first && item.role && item.reason === first.reason && item.detail === first.detail;
  const told = (item) => [
    isKnown(item) ? null : make("p", {}, item.unit, " ", make("code", {}, item.id), " ",
      item.reason ? make("strong", { class: "warn" }, item.reason) : null,
      item.detail ? `: ${item.detail}` : "",
      make("span", { class: "soft small" }, [item.source, item.place].filter(Boolean).map((t) => ` · ${t}`).join(""))),
    ...["reasoning", "content", "tool_calls"].filter((name) => item[name]).map((name) =>
      make("pre", { dir: "auto" }, item.role ? `${item.role}${name === "content" ? "" : ` (${name})`}: ` : "",
        ...marked(item[name], words)))];
  const more = rest.slice(SHOWN);
  return make("article", { class: "card entry" }, ...told(first), ...rest.slice(0, SHOWN).flatMap(told),
    more.length ? make("details", { open: Boolean(words) }, make("summary", { class: "soft small" }, `${plural(more.length, "message")} more`),
      ...more.flatMap(told)) : null);
}

async function showDropped(now) {
  const answer = await ask("dropped", { ...now, tab: "", id: "" });
  const chips = facts.reasons.map((reason) => make("button", { type: "button", title: reason.about,
    "aria-pressed": String(now.reason === reason.name),
    onclick: () => go({ reason: now.reason === reason.name ? "" : reason.name, page: 0 }) },
    `${reason.name} `, make("span", { class: "soft small" }, number(reason.number))));
  const about = facts.reasons.find((reason) => reason.name === now.reason)?.about;
  const page = Number(now.page ?? 0);
  const noun = `${number(answer.number)} dropped`;
  return [make("div", { class: "chips" }, ...chips),
    about ? make("p", { class: "soft" }, about) : null,
    facts.has_words ? null : make("p", { class: "soft small" }, "Their words are not in this folder: only the machine that builds it has them, in OUT/dropped."),
    pager(answer, page, noun), ...answer.entries.map((rows) => entry(rows, now.words)),
    answer.entries.length > 3 ? pager(answer, page, "") : null];
}

function showLengths() {
  if (!facts.costs.length) return [make("p", { class: "soft" }, "This dataset has no rows of tokens.")];
  const cells = (tag, texts) => make("tr", {}, ...texts.map((text, n) => make(tag, n ? { class: "n" } : {}, text)));
  const rows = facts.costs.map((cost) => {
    const line = cells("td", [number(cost.limit), number(cost.rows), share(cost.rows, cost.of_rows),
      number(cost.trained), share(cost.trained, cost.of_trained)]);
    if (cost.rows) line.firstChild.replaceChildren(make("a", { href: `#rows?least=${cost.limit + 1}&order=longest` }, number(cost.limit)));
    return line;
  });
  return [make("p", {}, `The longest row has ${plural(facts.longest, "token")}. Rows longer than max_tokens, and the trained tokens that go where such rows are dropped:`),
    make("div", { class: "card" }, make("div", { class: "scroll" }, make("table", {},
      cells("th", ["tokens at most", "rows longer", "share", "trained tokens lost", "share"]), ...rows)))];
}

// ---------------------------------------------------------------------- what was changed

function glance(rows) {
  const cell = (value) => make("td", { class: "n" }, value === null ? "none" : number(value));
  const step = (before, after) => {
    const by = Math.round(10 * ((after ?? 0) - (before ?? 0))) / 10;
    return make("td", { class: by ? "n" : "n soft" }, by ? `${by > 0 ? "+" : ""}${number(by)}` : "the same");
  };
  const heads = ["", "before", "after", "change"].map((head, n) => make("th", { class: n ? "n" : undefined }, head));
  return make("details", { class: "card" }, make("summary", {}, "Numbers of both"), make("div", { class: "scroll" },
    make("table", { class: "both" }, make("tr", {}, ...heads), ...rows.map(([words, before, after]) =>
      make("tr", {}, make("td", {}, words), cell(before), cell(after), step(before, after))))));
}

async function showChanges(now) {
  const { before, kinds, the_same, glance: rows } = facts.compared;
  const head = make("p", {}, "Against ", make("strong", {}, before), `: ${plural(the_same, "conversation")} ${the_same === 1 ? "is" : "are"} the same.`);
  if (!kinds.length) return [head, glance(rows)];
  const kind = kinds.find(({ name }) => name === now.kind) ?? kinds[0];
  const answer = await ask("changes", { kind: kind.name, words: now.words, page: now.page });
  const chips = kinds.map((item) => make("button", { type: "button", title: item.about,
    "aria-pressed": String(item === kind), onclick: () => go({ kind: item.name, page: 0, id: "" }) },
    `${item.name} `, make("span", { class: "soft small" }, number(item.number))));
  const list = answer.rows.map((item) => make("button", { class: "row", type: "button",
    "aria-current": item.id === now.id && "true", onclick: () => go({ kind: kind.name, id: item.id }) },
    make("span", { class: "text", dir: "auto" }, item.begins || "(says nothing)"),
    make("span", { class: "soft small" }, make("code", {}, item.id)),
    item.reason ? make("span", { class: "soft small" }, [item.reason, item.detail].filter(Boolean).join(": ")) : null));
  const page = Number(now.page ?? 0);
  return [head, glance(rows), make("div", { class: "chips" }, ...chips),
    pager(answer, page, `${number(answer.number)} ${kind.about}`), ...list];
}

function compared(turn) {
  const tags = { "-": "del", "+": "ins" };
  const part = ([sign, text]) => tags[sign] ? make(tags[sign], {}, text)
    : sign === "…" ? make("span", { class: "left" }, `… ${text} …`) : text;
  return make("pre", { dir: "auto" }, ...turn.words.map(part),
    turn.left ? make("span", { class: "left" }, `… ${plural(turn.left, "character")} more`) : null);
}

function bothSides(pair) {
  const role = (words) => make("span", { class: "role" }, words);
  const only = (turn, kind) => make("div", { class: kind }, role(turn.role), compared(turn));
  const side = (name, turn) => make("div", { class: `side ${name}` }, role(turn ? `${name} · ${turn.role}` : name),
    turn ? compared(turn) : make("p", { class: "soft small" }, "no such turn"));
  const isInBoth = pair.places.before && pair.places.after;
  return pair.turns.flatMap((turn) => turn.is_same ? [only(turn, "same")]
    : isInBoth ? [side("before", turn.before), side("after", turn.after)] : [only(turn.before ?? turn.after, "alone")]);
}

function spans(name, list) {
  return make("div", { class: "side tokens" }, make("span", { class: "role" }, name), make("pre", { dir: "auto" },
    ...(list ?? []).map((span) => make("span", { class: [span.is_trained && "trained", span.is_control && "control"].filter(Boolean).join(" ") || undefined }, span.text))));
}

async function showChange(id) {
  const pair = await ask("change", { id });
  const why = pair.reason ? make("p", {}, make("strong", { class: "warn" }, pair.reason), pair.detail ? `: ${pair.detail}` : "") : null;
  const places = Object.entries(pair.places).filter(([, place]) => place).map(([name, place]) =>
    make("p", { class: "soft small" }, `${name}: ${place}`));
  const parts = pair.tokens ? Object.entries(pair.tokens).map(([name, list]) => spans(name, list)) : bothSides(pair);
  return [make("button", { id: "back", type: "button", onclick: () => go({ id: "" }) }, "‹ all changes"),
    make("p", { class: "soft small" }, make("code", {}, pair.id), ` · ${pair.kinds.join(", ")}`), why, ...places,
    make("article", { class: "card compared" }, make("div", { class: "sides" }, ...parts))];
}

// ------------------------------------------------------------------------- a conversation

function tokens(row) {
  const pre = make("pre", { class: "tokens", dir: "auto" });
  row.tokens.forEach(([id, text, part, trained, control], place) => {
    const kind = [trained && "trained", control && "control", part !== "context" && part].filter(Boolean).join(" ");
    pre.append(make("span", { class: kind || undefined, "data-place": place }, text));
  });
  pre.addEventListener("mouseover", (event) => about(row, event.target));
  pre.addEventListener("click", (event) => about(row, event.target));
  pre.addEventListener("mouseleave", () => { at("token").hidden = true; });
  return pre;
}

function about(row, target) {
  if (!target.dataset?.place) return;
  const place = Number(target.dataset.place), [id, text, part, trained, control] = row.tokens[place];
  document.querySelector(".chosen")?.classList.remove("chosen");
  target.classList.add("chosen");
  at("token").replaceChildren(make("b", {}, `token ${number(place)}: id ${id}`), " ",
    make("code", {}, text ? JSON.stringify(text) : "a part of the next character"),
    ` · ${part.replace("_", " ")}${control ? ", a control token" : ""} · `,
    make("b", {}, trained ? "trained" : "not trained"));
  at("token").hidden = false;
}

function message(turn) {
  return [make("span", { class: "role" }, turn.role), make("pre", { dir: "auto" },
    make("span", { class: turn.trained ? "trained" : undefined }, turn.words),
    turn.left ? `\nand ${plural(turn.left, "character")} more` : "")];
}

function showTree(tree) {
  const kinds = { "●": "lit", "✗": "lost" };
  const line = (node) => {
    const item = make("li", { class: kinds[node.mark] }, make("b", {}, node.mark), ` ${node.role}: `,
      make("span", { dir: "auto" }, node.words || "(says nothing)"), node.reason ? make("em", {}, ` (${node.reason})`) : null);
    item.style.setProperty("--depth", node.depth);
    item.title = node.id;
    return item;
  };
  return make("div", { class: "card" }, make("h3", {}, "Tree ", make("code", {}, tree.group)),
    make("p", { class: "soft small" }, "● on the path of this conversation  ○ kept in another  ✗ dropped"),
    make("ul", { class: "tree" }, ...tree.nodes.map(line)),
    tree.elsewhere.length ? make("p", { class: "soft small" }, "Somewhere in it; the ledger does not say below what:") : null,
    make("ul", { class: "tree" }, ...tree.elsewhere.map(line)));
}

async function showConversation(id) {
  const talk = await ask("conversation", { id });
  const facts = [talk.source, talk.lang ?? "language unknown", talk.split].join(" · ");
  const rows = talk.rows.map((row) => make("article", { class: "card talk" },
    make("header", {}, make("code", {}, row.id), make("span", { class: "small soft" },
      `${number(row.trained)} of ${plural(row.length, "token")} trained`)),
    ...row.about.map((line) => make("p", { class: "soft small" }, line)), tokens(row),
    row.tokens.length < row.length ? make("p", { class: "small soft" }, `and ${plural(row.length - row.tokens.length, "token")} more`) : null));
  const button = make("button", { type: "button", onclick: async () => {
    button.disabled = true;
    button.replaceWith(showTree(await ask("tree", { id })));
  } }, "Show its tree");
  return [make("button", { id: "back", type: "button", onclick: () => go({ id: "" }) }, "‹ all conversations"),
    make("p", { class: "soft small" }, make("code", {}, talk.id), ` · ${facts}`),
    make("p", { class: "legend small" }, make("span", { class: "trained" }, rows.length ? "trained" : "may be trained"),
      rows.length ? make("span", { class: "control" }, "control token") : null, make("span", { class: "soft" }, "context")),
    ...rows, rows.length ? null : make("article", { class: "card talk" }, ...talk.messages.flatMap(message)), button];
}

// -------------------------------------------------------------------------------- the page

function fill(select, values, every) {
  at(select).replaceChildren(make("option", { value: "" }, every), ...Object.entries(values).map(([value, n]) =>
    make("option", { value }, n === null ? value : `${value} (${number(n)})`)));
}

async function show() {
  const mine = ++asked, now = state(), { tab } = now;
  for (const link of at("tabs").children) {
    link.hash === `#${tab}` ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  for (const name of FILTERS) if (document.activeElement !== at(name)) at(name).value = now[name] ?? "";
  for (const label of document.querySelectorAll("[data-for]")) {
    label.hidden = !label.dataset.for.split(" ").includes(tab) || (label.classList.contains("tokens") && !facts.is_rendered);
  }
  at("filters").hidden = tab === "lengths";
  at("words").placeholder = tab === "changes" ? "Search in ids" : "Search in text";
  at("token").hidden = true;
  const views = { rows: showRows, dropped: showDropped, lengths: showLengths, changes: showChanges };
  const details = { rows: showConversation, changes: showChange };
  try {
    const list = await views[tab](now);
    const detail = details[tab] && now.id ? await details[tab](now.id) : [];
    if (mine !== asked) return;
    at("list").replaceChildren(...list.filter(Boolean));
    at("detail").replaceChildren(...detail.filter(Boolean));
    at("detail").hidden = !detail.length;
    document.querySelector(".panes").classList.toggle("two", detail.length > 0);
    if (open !== (now.id ?? "")) {
      at("detail").scrollTop = 0;
      if (now.id && matchMedia("(max-width: 63.99rem)").matches) scrollTo(0, 0);
    }
    open = now.id ?? "";
  } catch (error) {
    if (mine === asked) at("list").replaceChildren(make("p", { class: "warn" }, error.message));
  }
}

async function start() {
  facts = await ask("facts");
  document.title = `${facts.name} ${facts.version}`;
  at("title").replaceChildren(facts.name, " ", make("small", {}, facts.version));
  at("about").textContent = facts.about ?? "";
  at("changes").hidden = !facts.compared;
  fill("source", facts.sources, "all");
  fill("lang", facts.languages, "all");
  fill("split", facts.splits, "all");
  fill("reason", Object.fromEntries(facts.reasons.map((reason) => [reason.name, reason.number])), "all");
  fill("order", Object.fromEntries(ORDERS.map((name) => [name, null])), "as stored");
  let wait;
  for (const name of FILTERS) at(name).addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(() => go({ [name]: at(name).value.trim(), page: 0, id: "" }), at(name).matches("input") ? 300 : 0);
  });
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", show);
  show();
}

start().catch((error) => at("list").replaceChildren(make("p", { class: "warn" }, error.message)));
