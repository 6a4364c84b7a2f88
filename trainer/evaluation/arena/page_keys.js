// What keys and buttons do, and how it begins.

const DO = {
  next, skip, unjudged, results, reset,
  previous: () => go(page.at - 1),
  edit: () => part("correction").focus(),
  keep: () => keep(!page.item.is_kept),
  keys: () => { part("keys").open = !part("keys").open; },
};
const KEYS = { Enter: "next", n: "next", p: "previous", s: "skip", u: "unjudged", r: "results", e: "edit",
  g: "keep", "?": "keys" };
const OF_ITEM = ["edit", "keep", "skip", "next"];

function pressed(event) {
  if (part("stage").hidden || event.isComposing) return;
  const { key, target } = event;
  if (target === part("correction")) {
    if (key === "Escape") part("heading").focus({ preventScroll: true });
    if (key === "Enter" && (event.ctrlKey || event.metaKey)) next();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (key === "Enter" && target.closest?.("button, summary")) return;
  if (page.isMoving) early.push(key);
  else if (act(key)) event.preventDefault();
}

// Does what a key is for; false where it is for nothing.
function act(key) {
  const name = KEYS[key];
  if (name && (page.item || !OF_ITEM.includes(name))) {
    DO[name]();
    return true;
  }
  if (!page.item || key.length !== 1) return false;
  const number = page.item.answers.length;
  const place = LETTERS.toLowerCase().indexOf(key);
  if (place >= 0 && place < number) {
    mark(place);
    part("answers").children[place].scrollIntoView({ block: "start" });
    return true;
  }
  if (key === "0") return unrank(), true;
  if (!(key >= "1" && key <= String(number))) return false;
  rank(page.marked, Number(key));
  mark((page.marked + 1) % number);
  return true;
}

// ------------------------------------------------------------------------------------------ start

async function enter(name) {
  page.annotator = name;
  const contest = await ask("open_contest", {});
  page.annotator = contest?.annotator ?? null;
  part("entry").hidden = page.annotator !== null;
  part("stage").hidden = page.annotator === null;
  if (page.annotator === null) return part("name").focus();
  const address = new URL(location);
  if (contest.is_named) address.searchParams.set("annotator", page.annotator);
  history.replaceState(null, "", address);
  page.statuses = contest.statuses;
  const at = page.statuses.indexOf("open");
  go(at < 0 ? page.statuses.length : at);
}

part("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  enter(part("name").value);
});
part("stage").addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) DO[button.dataset.do]();
});
part("kept").addEventListener("change", (event) => keep(event.target.checked));
part("correction").addEventListener("input", typed);
part("correction").addEventListener("blur", settle);
document.addEventListener("keydown", pressed);
let width = innerWidth;
window.addEventListener("resize", () => {
  if (width !== innerWidth) fit(); // else the keyboard of a phone came or went
  width = innerWidth;
});
window.addEventListener("beforeunload", (event) => {
  settle();
  if (queue.length) event.preventDefault();
});
enter(new URL(location).searchParams.get("annotator"));
