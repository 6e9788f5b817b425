"use strict";
for (const part of document.querySelectorAll(".chart")) {
  const data = JSON.parse(part.querySelector("script").textContent), svg = part.querySelector(".plot");
  const out = part.querySelector("output"), cursor = part.querySelector(".cursor");
  const lines = svg.querySelectorAll(".line"), boxes = part.querySelectorAll("input");
  let at = data.epochs.length - 1;
  const show = () => {
    cursor.setAttribute("d", `M${data.xs[at]} 8V${data.bottom}`);
    const texts = data.lines.map((v, k) => boxes[k].checked && v[at] !== null ? `${data.labels[k]} ${v[at].toFixed(2)}` : "");
    out.textContent = `${data.along} ${data.epochs[at]}: ` + texts.filter(Boolean).join("; ");
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), x = (event.clientX - box.left) * data.wide / box.width;
    at = data.xs.reduce((best, v, k) => Math.abs(v - x) < Math.abs(data.xs[best] - x) ? k : best, 0);
    show();
  });
  svg.addEventListener("keydown", (event) => {
    const move = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!move) return;
    event.preventDefault();
    at = Math.min(Math.max(at + move, 0), data.epochs.length - 1);
    show();
  });
  boxes.forEach((box, k) => box.addEventListener("change", () => { lines[k].style.display = box.checked ? "" : "none"; }));
}
for (const part of document.querySelectorAll(".examples")) {
  const slider = part.querySelector("input"), out = part.querySelector("output");
  slider.addEventListener("input", () => {
    part.querySelectorAll(".attacked").forEach((image) => { image.style.opacity = slider.value / 100; });
    const radius = out.dataset.radius === "" ? "" : `, radius ${(out.dataset.radius * slider.value / 100).toPrecision(3)}`;
    out.textContent = `${slider.value}% of the perturbation${radius}`;
  });
}
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((part) => { part.open = true; });
});
addEventListener("afterprint", () => { opened.forEach((part) => { part.open = false; }); });
