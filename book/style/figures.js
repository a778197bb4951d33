// A figure that is drawn smaller than it is, as on a phone, gets a button that enlarges it; a tap on the picture does too.
document.addEventListener("DOMContentLoaded", () => {
  for (const row of document.querySelectorAll("figure .figure-files")) {
    const figure = row.closest("figure");
    const button = document.createElement("button");
    const toggle = () => {
      const enlarged = figure.classList.toggle("enlarged");
      button.textContent = enlarged ? "Fit to the page" : "Enlarge";
      button.setAttribute("aria-pressed", enlarged);
    };
    button.type = "button";
    button.textContent = "Enlarge";
    button.setAttribute("aria-pressed", false);
    button.addEventListener("click", toggle);
    figure.querySelector("img")?.addEventListener("click", () => matchMedia("(max-width: 700px)").matches && toggle());
    row.append(" ", button);
  }
});
