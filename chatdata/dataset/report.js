"use strict";
// Shows the reasons that hold, in their text or examples, what is typed or stands behind #search=.
const box = document.getElementById("search");
const none = document.getElementById("none");

function show() {
  const wanted = box.value.trim().toLowerCase();
  let found = 0;
  for (const item of document.querySelectorAll("[data-search]")) {
    item.hidden = !item.textContent.toLowerCase().includes(wanted);
    found += !item.hidden;
  }
  none.hidden = found > 0;
}

if (box) {
  const [, words] = location.hash.match(/^#search=(.*)$/) ?? [];
  box.value = words ? decodeURIComponent(words) : "";
  box.hidden = false;
  box.addEventListener("input", show);
  show();
}
