// Making elements. All text goes in as text nodes: names of tasks are never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** A labelled menu; `options` are pairs of value and text. */
function menu(label, options, chosen, onchange, wide = false) {
  const select = html("select", {onchange: () => onchange(select.value)});
  for (const [value, text] of options) select.append(html("option", {value, selected: value === chosen}, text));
  return html("label", {class: wide ? "wide" : null}, label, select);
}

function tick(label, checked, onchange) {
  const box = html("input", {type: "checkbox", onchange: () => onchange(box.checked)});
  box.checked = checked;
  return html("label", {class: "tick"}, box, label);
}

/** Put `controls` into `holder` in place of those before, and leave the focus where it was. */
function setControls(holder, ...controls) {
  const nameOf = (label) => label?.firstChild.data ?? label?.lastChild.data;
  const focused = holder.contains(document.activeElement) ? nameOf(document.activeElement.closest("label")) : null;
  holder.replaceChildren(...controls);
  if (focused === null) return;
  const label = [...holder.querySelectorAll("label")].find((each) => nameOf(each) === focused);
  label?.querySelector("select, input").focus();
}

/** `text` cut to what fits into so many pixels of the 11 px font. */
function cut(text, widthPx) {
  const line = text.replace(/\s+/g, " ").trim();
  const longest = Math.max(1, Math.floor(widthPx / 6.1));
  return line.length <= longest ? line : line.slice(0, longest - 1) + "…";
}

/** Call `draw(width)` now and whenever `holder` gets another width. */
function whenSized(holder, draw) {
  let drawn = 0;
  const redraw = () => {
    const width = Math.floor(holder.clientWidth);
    if (width > 0 && width !== drawn) draw((drawn = width));
  };
  redraw();
  new ResizeObserver(() => requestAnimationFrame(redraw)).observe(holder);
}

const tooltip = {
  box: document.getElementById("tooltip"),

  show(lines, x, y) {
    this.box.replaceChildren(...lines.filter(Boolean).map((line) => html("div", {}, line)));
    this.box.hidden = false;
    const {width, height} = this.box.getBoundingClientRect();
    const left = x + 14 + width > innerWidth ? x - 14 - width : x + 14;
    const top = y + 14 + height > innerHeight ? y - 14 - height : y + 14;
    this.box.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
  },

  hide() {
    this.box.hidden = true;
  },
};

/** Say `lines` to a screen reader. */
function readOut(lines) {
  document.getElementById("readout").textContent = lines.filter(Boolean).join(", ");
}

/** Where in the drawing's own units the pointer is: it may be shown smaller than it was drawn. */
function pointIn(drawing, event) {
  const box = drawing.getBoundingClientRect();
  const {width, height} = drawing.viewBox.baseVal;
  return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
}
