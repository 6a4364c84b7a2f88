// What stands behind the last prompt: what is left to do, and the results.

function drawEnd() {
  const number = (status) => page.statuses.filter((known) => known === status).length;
  const left = number("open");
  part("end-words").textContent =
    number("judged") + " judged, " + number("skipped") + " skipped, " + left + " open.";
  element.querySelector('[data-do="unjudged"]').hidden = !left;
  element.querySelector('[data-do="results"]').hidden = left > 0;
}

const percent = (share) => (share === null ? "–" : (100 * share).toFixed(0) + "\u00a0%");
const decimals = (rank) => (rank === null ? "–" : rank.toFixed(2));
const range = (ends, say) => (ends ? say(ends[0]).replace("\u00a0%", "") + "–" + say(ends[1]) : "–");

async function results() {
  if (page.at < page.statuses.length) return;
  part("results").replaceChildren();
  add(part("results"), "p", "faint", "Counting …");
  const got = await ask("show_results", {});
  if (!got) return part("results").replaceChildren();
  const { models, ranks, pairs } = got;
  part("results").replaceChildren();
  table("Models", ["", "mean rank", "95 %", "first"], Object.entries(ranks).map(([letter, of]) => [
    models[letter],
    decimals(of.mean_rank),
    range(of.mean_rank_interval, decimals),
    percent(of.first),
  ]));
  table("Wins", ["", "wins", "95 %", "ties"], pairs.map((of) => [
    models[of.first] + " against " + models[of.second],
    percent(of.win_rate),
    range(of.win_rate_interval, percent),
    String(of.ties),
  ]));
  const people = Object.entries(got.annotators).map(([name, of]) => name + " " + of.judged);
  add(part("results"), "p", "faint", "Judged by " + people.join(", ") + ".");
}

function table(title, head, rows) {
  const made = add(part("results"), "table", "");
  add(made, "caption", "", title);
  const first = add(add(made, "thead", ""), "tr", "");
  head.forEach((words) => add(first, "th", "", words));
  const body = add(made, "tbody", "");
  for (const row of rows) {
    const line = add(body, "tr", "");
    row.forEach((words, at) => add(line, at ? "td" : "th", "", words));
  }
}
