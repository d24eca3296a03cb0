"use strict";
// The table of the cheapest thresholds follows the slider. Without this script, the page shows three costs instead.
for (const part of document.querySelectorAll(".costs")) {
  const data = JSON.parse(part.querySelector("script").textContent);
  const slider = part.querySelector("input"), output = part.querySelector("output");
  const rows = part.querySelectorAll(".of-slider tbody tr");
  const show = () => {
    const place = Number(slider.value);
    output.textContent = data.ratios[place];
    slider.setAttribute("aria-valuetext", data.ratios[place]);
    rows.forEach((row, k) => row.querySelectorAll("td").forEach((cell, j) => {
      cell.textContent = data.cells[place][k][j];
    }));
  };
  slider.addEventListener("input", show);
  show();
  part.querySelector(".of-slider").hidden = false;
  part.querySelector(".fixed").hidden = true;
}
