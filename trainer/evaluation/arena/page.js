"use strict";
// The page of the arena; `page_end.js` and `page_keys.js` follow it. `element` is the component,
// `server` what Python answers. Texts of models and people are set as text, never as HTML.
const part = (name) => element.querySelector('[data-part="' + name + '"]');
const LETTERS = "ABCD";
const WAIT = 1000; // milliseconds between two tries to reach the server
const PAUSE = 400; // after the last key in the corrected answer, before it is saved

const page = { annotator: null, statuses: [], at: 0, item: null, marked: 0, isMoving: false };
const queue = []; // what is not saved yet, in the order of the clicks
const early = []; // keys that were pressed before the next prompt came
let typing = null;

// ------------------------------------------------------------------------------------- the server

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// What the server answers, however long it is away; null, with a note, for what it refuses.
async function ask(name, values) {
  for (let isAway = false; ; isAway = true) {
    // Gradio's client answers nothing where a request has failed.
    const answer = await server[name]({ annotator: page.annotator, ...values });
    if (answer) {
      if (answer.error || isAway) note(answer.error ?? "");
      return answer.error ? null : answer;
    }
    note("The server does not answer. What you do is kept here and saved when it is back.");
    await sleep(WAIT);
  }
}

function note(words) {
  part("note").textContent = words;
  part("note").hidden = !words;
}

// Saves what was clicked, click by click.
async function save() {
  const { ranks, correction, is_kept, is_skipped } = page.item;
  queue.push({ at: page.at, ranks: [...ranks], correction, is_kept, is_skipped });
  part("saved").textContent = "saving …";
  if (queue.length > 1) return;
  while (queue.length) {
    const answer = await ask("save_judgement", queue[0]);
    if (answer) page.statuses[queue[0].at] = answer.status;
    queue.shift();
    if (answer && !queue.length) part("saved").textContent = "saved";
    count();
  }
}

async function allSaved() {
  settle();
  while (queue.length) await sleep(20);
}

// ------------------------------------------------------------------------------------------ texts

// A text in pieces: words, and fenced code with its fences. Every character is shown.
function show(target, text) {
  target.replaceChildren();
  let fence = null, block = null;
  for (const line of text.split(/(?<=\n)/)) {
    const mark = line.match(/^ {0,3}(`{3,}|~{3,})/)?.[1];
    const isEnd = fence && mark?.startsWith(fence) && line.trim() === mark;
    const isStart = !fence && mark;
    if (isStart || !block) block = add(target, isStart ? "pre" : "div", isStart ? "code" : "words");
    if (isStart || isEnd) add(block, "span", "fence", line);
    else block.append(line);
    if (isStart) fence = mark;
    if (isEnd) fence = block = null;
  }
}

function add(target, tag, kind, text = "") {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.append(text);
  target.append(made);
  return made;
}

// ---------------------------------------------------------------------------------------- a prompt

async function go(to) {
  if (page.isMoving) return;
  page.isMoving = true;
  await allSaved();
  const at = Math.max(0, Math.min(to, page.statuses.length));
  const isEnd = at === page.statuses.length;
  const item = isEnd ? null : await ask("open_prompt", { at });
  page.isMoving = false;
  if (!item && !isEnd) return;
  settle();
  note("");
  Object.assign(page, { at, item });
  page.marked = 0;
  part("saved").textContent = "";
  part("results").replaceChildren();
  part("item").hidden = !page.item;
  for (const name of ["skip", "next"]) element.querySelector('[data-do="' + name + '"]').hidden = isEnd;
  part("end").hidden = !isEnd;
  if (page.item) draw();
  if (isEnd) drawEnd();
  count();
  window.scrollTo(0, 0);
  part(isEnd ? "end-heading" : "heading").focus({ preventScroll: true });
  while (early.length && !page.isMoving) act(early.shift());
}

function draw() {
  const { prompt, reference, answers } = page.item;
  show(part("prompt"), prompt);
  part("reference-box").hidden = reference === null;
  part("reference-box").open = false;
  show(part("reference"), reference ?? "");
  part("answers").replaceChildren(...answers.map(card));
  part("answers").dataset.number = answers.length;
  paint();
}

function card(text, place) {
  const made = document.createElement("article");
  const head = add(made, "fieldset", "ranks");
  add(head, "legend", "", "Answer " + LETTERS[place]);
  page.item.answers.forEach((_, at) => {
    const label = add(head, "label", "rank");
    const input = add(label, "input", "");
    Object.assign(input, { type: "radio", name: "rank-" + place, value: at + 1 });
    input.setAttribute("aria-label", "rank " + (at + 1) + " for answer " + LETTERS[place]);
    add(label, "span", "", String(at + 1));
    input.addEventListener("change", () => rank(place, at + 1));
  });
  const shown = add(made, "div", "text");
  if (text) show(shown, text);
  else add(shown, "p", "faint", "(an empty answer)");
  made.addEventListener("pointerdown", () => mark(place));
  made.addEventListener("focusin", () => mark(place));
  return made;
}

// Shows what is said of the prompt.
function paint() {
  const { ranks, is_kept, is_skipped } = page.item;
  const isRanked = !ranks.includes(null);
  for (const input of part("answers").querySelectorAll("input")) {
    input.checked = ranks[input.name.slice(5)] === Number(input.value);
  }
  const box = part("correction");
  box.disabled = !isRanked;
  const value = isRanked ? page.item.correction ?? original() : "";
  if (box.value !== value) box.value = value;
  fit();
  part("kept").checked = is_kept;
  part("kept").disabled = !isRanked;
  element.querySelector('[data-do="reset"]').hidden = page.item.correction === null || !isRanked;
  part("hint").textContent = isRanked
    ? "The answer ranked first, as it was written. Correct it where it is wrong."
    : "Rank all answers; the best then stands here, to be corrected.";
  element.querySelector('[data-do="skip"]').classList.toggle("on", is_skipped);
  mark(page.marked);
}

function mark(place) {
  page.marked = place;
  [...part("answers").children].forEach((made, at) => made.classList.toggle("marked", at === place));
}

function count() {
  const total = page.statuses.length;
  const done = page.statuses.filter((status) => status !== "open").length;
  part("count").textContent = page.at < total ? "Prompt " + (page.at + 1) + " of " + total : "The end";
  part("progress").max = total;
  part("progress").value = done;
  part("progress").title = done + " of " + total + " done";
  part("who").textContent = page.annotator ?? "";
}

// -------------------------------------------------------------------------------- what is clicked

const lines = (text) => text.replace(/\r\n?/g, "\n"); // as a text area has them

// The answer ranked first; of several the first on the page.
function best(ranks) {
  return ranks.indexOf(Math.min(...ranks));
}

const original = () => lines(page.item.answers[best(page.item.ranks)]);

function rank(place, value) {
  note("");
  settle();
  const { ranks } = page.item;
  const before = best(ranks);
  ranks[place] = value;
  changeRanks(before);
}

function changeRanks(before) {
  const { ranks, correction } = page.item;
  const isOther = ranks.includes(null) || best(ranks) !== before;
  if (correction === null && isOther) page.item.is_kept = false; // that was said of another answer
  page.item.is_skipped = false;
  paint();
  save();
}

function unrank() {
  page.item.ranks.fill(null);
  page.marked = 0;
  changeRanks(-1);
}

function keep(isKept) {
  if (page.item.ranks.includes(null)) return note("Rank all answers first.");
  settle();
  page.item.is_kept = isKept;
  paint();
  save();
}

// What was typed becomes what is said.
function settle() {
  clearTimeout(typing);
  if (!page.item || typing === null) return;
  typing = null;
  const { value } = part("correction");
  const correction = value === original() ? null : value;
  if (correction === page.item.correction) {
    if (!queue.length) part("saved").textContent = "saved";
    return;
  }
  if (page.item.correction === null) page.item.is_kept = true; // who edits an answer means it
  if (!value.trim()) page.item.is_kept = false;
  page.item.correction = correction;
  paint();
  save();
}

function typed() {
  fit();
  part("saved").textContent = "saving …";
  clearTimeout(typing);
  typing = setTimeout(settle, PAUSE);
}

// Makes the text area as high as its text.
function fit() {
  const box = part("correction");
  const { scrollY } = window;
  box.style.height = "auto";
  box.style.height = box.scrollHeight + 2 + "px";
  window.scrollTo(0, scrollY);
}

function reset() {
  clearTimeout(typing);
  typing = null;
  Object.assign(page.item, { correction: null, is_kept: false });
  paint();
  save();
}

function next() {
  if (!page.item) return;
  if (page.item.ranks.includes(null) && !page.item.is_skipped) {
    mark(page.item.ranks.indexOf(null));
    return note("Give every answer a rank from 1 to " + page.item.ranks.length + ", or skip the prompt.");
  }
  go(page.at + 1);
}

function skip() {
  if (!page.item) return;
  settle();
  page.item.is_skipped = true;
  save();
  go(page.at + 1);
}

function unjudged() {
  const at = page.statuses.indexOf("open");
  if (at >= 0) go(at);
}
