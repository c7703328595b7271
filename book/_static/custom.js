// What the theme leaves open: names that match what is seen, and scrolling boxes that the keyboard can reach.

// A button that shows text is named by that text; one that unfolds a part of the contents, by that part.
function nameButtons() {
  for (const button of document.querySelectorAll(".search-button-field[aria-label], .cell summary[aria-label]")) {
    button.removeAttribute("aria-label");
  }
  for (const button of document.querySelectorAll(".bd-sidebar-primary summary:not([aria-label])")) {
    button.setAttribute("aria-label", "Pages of: " + button.closest("li").querySelector("a").textContent.trim());
  }
  const names = { light: "Colour mode: light", dark: "Colour mode: dark", auto: "Colour mode: as the system" };
  for (const button of document.querySelectorAll(".theme-switch-button")) {
    const mode = document.documentElement.dataset.mode || "auto";
    button.setAttribute("aria-label", names[mode] || names.auto);
  }
}

// A formula inside a line that is wider than the line gets a box of its own to scroll in.
function boxWideFormulas() {
  for (const formula of document.querySelectorAll(".bd-article mjx-container:not([display=true])")) {
    formula.classList.remove("wide");
    const block = formula.closest("p, li, td, dd, dt, figcaption, h1, h2, h3");
    formula.classList.toggle("wide", !!block && formula.getBoundingClientRect().width > block.clientWidth + 1);
  }
}

// A box that scrolls sideways is a stop for the Tab key; one that does not is none.
function reachScrollingBoxes() {
  const boxes = "mjx-container[display=true], mjx-container.wide, .bd-article table, .pst-scrollable-table-container, .cell_output, .cell_output pre, pre";
  for (const box of document.querySelectorAll(boxes)) {
    const style = getComputedStyle(box);
    const scrolls = ["auto", "scroll"].includes(style.overflowX) && box.scrollWidth > box.clientWidth + 1;
    if (scrolls && !box.hasAttribute("tabindex")) {
      box.setAttribute("tabindex", "0");
      box.dataset.reached = "";
    } else if (!scrolls && "reached" in box.dataset) {
      box.removeAttribute("tabindex");
      delete box.dataset.reached;
    }
  }
}

function tidy() {
  nameButtons();
  boxWideFormulas();
  reachScrollingBoxes();
}

document.addEventListener("DOMContentLoaded", () => {
  tidy();
  new MutationObserver(nameButtons).observe(document.documentElement, { attributeFilter: ["data-mode", "data-theme"] });
});
window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  tidy();
});
window.addEventListener("resize", tidy);
