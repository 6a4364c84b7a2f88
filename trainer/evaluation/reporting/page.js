"use strict";
// Shows of each list of pairs those of the choice that hold what is typed.
for (const list of document.querySelectorAll(".explorer")) {
  const box = list.querySelector("input");
  const buttons = [...list.querySelectorAll("button")];
  const pairs = [...list.querySelectorAll(".pair")];

  const show = () => {
    const words = box.value.trim().toLowerCase();
    const choice = words && pressed() === "sample" ? "all" : pressed();
    let number = 0;
    for (const pair of pairs) {
      const fits = choice === "all" || pair.dataset.kinds.split(" ").includes(choice);
      pair.hidden = !(fits && pair.textContent.toLowerCase().includes(words));
      number += !pair.hidden;
    }
    list.querySelector(".shown").textContent = `${number} of ${pairs.length} shown`;
    list.querySelector(".nothing").hidden = number > 0;
  };
  const pressed = () => buttons.find((button) => button.ariaPressed === "true").dataset.choice;
  const press = (event) => {
    for (const button of buttons) button.ariaPressed = String(button === event.currentTarget);
    show();
  };

  for (const button of buttons) button.addEventListener("click", press);
  box.addEventListener("input", show);
  list.querySelector(".choices").hidden = false;
  show();
}

// On paper the pairs that are shown stand open.
addEventListener("beforeprint", () => {
  for (const pair of document.querySelectorAll(".pair:not([hidden])")) pair.open = true;
});
