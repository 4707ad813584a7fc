(() => {
  const root = document.documentElement, button = document.getElementById("theme");
  button.hidden = false;
  button.onclick = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  };
  const form = document.getElementById("filter");
  if (!form) return;
  form.hidden = false;
  const claims = [...document.querySelectorAll(".claims > li")], found = document.getElementById("found");
  form.oninput = () => {
    const words = form.words.value.toLowerCase(), kind = form.kind.value, status = form.status.value;
    let count = 0;
    for (const claim of claims) {
      const fits = (!kind || claim.dataset.kind === kind) && (!status || claim.dataset.status === status)
        && claim.textContent.toLowerCase().includes(words);
      claim.hidden = !fits;
      count += fits;
    }
    for (const group of document.querySelectorAll(".group")) group.hidden = !group.querySelector("li:not([hidden])");
    found.textContent = `${count} of ${claims.length} claims shown`;
  };
  form.onsubmit = () => false;
})();
