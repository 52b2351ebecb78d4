"use strict";
// The page's own script: finding tasks, the map by keyboard, the viewer, and the live page. All text from conversations
// becomes text nodes: nothing here makes markup of it.

const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const live = document.body.dataset.live === "yes";
const serving = document.body.dataset.serving;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}

// -- the map of tasks

const STATES = { p: "passed", f: "failed", k: "partly passed", l: "lost to infrastructure", n: "not run" };

const map = () => $("#map");
const rows = () => all("tbody tr", map()).filter((row) => !row.hidden);

function applyFilters() {
  const text = $("#find").value.trim().toLowerCase();
  const kind = $("#show").value;
  let shown = 0;
  for (const row of all("tbody tr", map())) {
    const about = `${$("button", row).textContent} ${row.dataset.wrong}`.toLowerCase();
    row.hidden = (text && !about.includes(text)) || (kind && !row.dataset.is.split(" ").includes(kind));
    if (!row.hidden) shown += 1;
  }
  $("#shown").textContent = text || kind ? `${shown} tasks` : "";
}

function nameOf(cell) {
  const state = STATES[cell.className.charAt(0)];
  const change = cell.classList.contains("x") ? ", better" : cell.classList.contains("b") ? ", worse" : "";
  const flaky = cell.classList.contains("y") ? ", flaky" : "";
  const column = map().tHead.rows[0].cells[cell.cellIndex].title;
  return `${state}${change}${flaky} · ${column}`;
}

function focusCell(cell) {
  for (const before of all("td[tabindex]", map())) before.removeAttribute("tabindex");
  cell.tabIndex = 0;
  cell.setAttribute("aria-label", nameOf(cell));
  cell.focus();
}

function moveIn(event) {
  const cell = event.target.closest("td, th");
  if (!cell || !cell.parentElement.dataset.task) return;
  const visible = rows();
  const row = visible.indexOf(cell.parentElement);
  const last = cell.parentElement.cells.length - 1;
  const [down, column] = {
    ArrowLeft: [0, cell.cellIndex - 1],
    ArrowRight: [0, cell.cellIndex + 1],
    ArrowUp: [-1, cell.cellIndex],
    ArrowDown: [1, cell.cellIndex],
    Home: [0, 0],
    End: [0, last],
  }[event.key] ?? [];
  if (down !== undefined) {
    const target = visible[row + down]?.cells[column];
    if (target?.tagName === "TD") focusCell(target);
    else if (target) $("button", target).focus();
    event.preventDefault();
  } else if (event.key === "Enter" && cell.tagName === "TD") {
    openCell(cell);
    event.preventDefault();
  }
}

function openCell(cell) {
  if (cell.className.charAt(0) === "n") return;
  const head = map().tHead.rows[0].cells[cell.cellIndex];
  openTask(cell.parentElement.dataset.task, head.dataset);
}

// -- the viewer

let opened = null;

async function trialsOf(task) {
  if (live) {
    const answer = await fetch(`task/${encodeURIComponent(task)}`);
    return answer.ok ? answer.json() : [];
  }
  const pack = all("#packs script").find((one) => one.dataset.task === task);
  if (!pack) return [];
  const bytes = Uint8Array.from(atob(pack.textContent.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

// `chosen`: the agent file that was asked for, and the one that it was compared with; else the first and the best.
async function openTask(task, chosen) {
  const row = all("tbody tr", map()).find((one) => one.dataset.task === task);
  if (!row) return;
  const trials = await trialsOf(task);
  opened = { task, chosen, from: opened?.from ?? document.activeElement };
  $("#viewer-task").textContent = `Task ${$("button", row).textContent}`;
  const [left, right] = sides(trials, chosen);
  const panes = all(".pane");
  $(".panes").classList.toggle("single", left === right);
  fill(panes[0], trials, left);
  fill(panes[1], trials, right);
  if (!$("#viewer").open) $("#viewer").showModal();
  const wanted = panes[left === right ? 0 : 1];
  $(".trial", wanted).focus();
  $(".panes").scrollLeft = wanted.offsetLeft;
  history.replaceState(null, "", `#task-${task}`);
}

// The version that was asked for on the right, that which it was compared with on the left; -1 where there is none.
function sides(trials, chosen) {
  const first = (whose) => trials.findIndex((trial) => trial.agent === whose);
  if (chosen) {
    const right = first(chosen.agent);
    return [chosen.incumbent ? first(chosen.incumbent) : right, right];
  }
  const [left, right] = [first(map().dataset.baseline), first(map().dataset.best)];
  if (left < 0 && right < 0) return [0, 0];
  return [left < 0 ? right : left, right < 0 ? left : right];
}

function fill(pane, trials, chosen) {
  const select = $("select", pane);
  const options = trials.map((trial, number) => {
    const option = element("option", "", `${trial.version}, trial ${trial.trial}: ${trial.status}`);
    option.value = number;
    return option;
  });
  const none = element("option", "", "choose a version");
  none.value = -1;
  select.replaceChildren(...(chosen < 0 ? [none] : []), ...options);
  select.value = chosen;
  select.onchange = () => show(pane, trials[select.value]);
  show(pane, trials[chosen]);
}

function show(pane, trial) {
  const box = $(".trial", pane);
  box.scrollTop = 0;
  if (!trial) {
    const why = live ? "Infrastructure took it." : `It is not in this file, and ${serving} shows it, or infrastructure took it.`;
    box.replaceChildren(element("p", "faint", `There is no conversation here. ${why}`));
    return;
  }
  const reward = trial.reward === null ? "no reward" : `reward ${trial.reward}`;
  const parts = Object.entries(trial.parts).map(([name, value]) => `${name} ${value}`).join(", ");
  const calls = Object.entries(trial.calls).map(([role, count]) => `${role} ${count} calls`).join(", ");
  const price = trial.cost_usd === null ? "price unknown" : `$${trial.cost_usd.toFixed(4)}`;
  const ended = trial.termination && `ended with ${trial.termination}`;
  const facts = [parts, ended, calls, price, `${trial.seconds.toFixed(1)} s`];
  const head = element("div", "head");
  head.append(element("strong", "", `${trial.status}, ${reward}. `), trial.detail || trial.wrong);
  head.append(element("p", "faint", facts.filter(Boolean).join(" · ")));
  for (const note of trial.notes) head.append(element("p", "faint", note));
  box.replaceChildren(head, ...trial.turns.map(turn), ...trial.end.map(remark));
}

function turn(one) {
  const bubble = element("div", `turn ${one.role}`);
  bubble.append(element("div", "who", `${one.number} ${one.role}`));
  if (one.text) bubble.append(element("div", "text", one.text));
  for (const call of one.calls) bubble.append(folded(call));
  for (const text of one.beside) bubble.append(remark(text));
  return bubble;
}

function folded(call) {
  const details = element("details", call.failed ? "failed" : "");
  const given = JSON.stringify(call.arguments);
  const summary = element("summary");
  const short = given.length > 90 ? `${given.slice(0, 90)}…` : given;
  summary.append(element("code", "", `${call.name}(${short})`), call.failed ? " failed" : "");
  details.append(summary, element("pre", "", JSON.stringify(call.arguments, null, 1)), element("pre", "", pretty(call.result)));
  return details;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 1);
  } catch {
    return text ?? "no result";
  }
}

const remark = (text) => element("div", "remark", text);

function step(by) {
  const visible = rows();
  const at = visible.findIndex((row) => row.dataset.task === opened?.task);
  const next = visible[at + by];
  if (next) openTask(next.dataset.task, opened.chosen);
}

// -- links inside the page

function openTarget() {
  const name = decodeURIComponent(location.hash.slice(1));
  if (name.startsWith("task-")) openTask(name.slice(5));
  const target = document.getElementById(name);
  if (target?.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}

// -- the live page

async function follow() {
  try {
    const answer = await fetch("now");
    if (!answer.ok) throw new Error(answer.status);
    const now = await answer.json();
    $("#lost")?.remove();
    replaceIfChanged($("#live > .live"), now.html);
    if (now.version !== document.body.dataset.version) await refresh(now.version);
  } catch {
    if (!$("#lost")) {
      const lost = element("p", "", `The server does not answer: ${serving}. This page goes on by itself once it does.`);
      lost.id = "lost";
      $("#live").prepend(lost);
    }
  }
  setTimeout(follow, 1000);
}

function replaceIfChanged(old, html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
  for (const one of all("details[open]", old)) $(`#${one.id}`, fresh)?.setAttribute("open", "");
  if (fresh.outerHTML !== old.outerHTML) old.replaceWith(fresh);
}

// Each section is replaced where it differs; what a person has opened or chosen stays, and where somebody is at work
// it waits.
async function refresh(version) {
  const answer = await fetch("./");
  if (!answer.ok) throw new Error(answer.status);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const open = new Set(all("details[open][id]").map((one) => one.id));
  const [find, kind] = [$("#find").value, $("#show").value];
  let waits = false;
  for (const section of all("main > section")) {
    const other = fresh.getElementById(section.id);
    const busy = section.contains(document.activeElement) && document.activeElement.closest(".map, .filters");
    waits ||= Boolean(busy);
    if (section.id === "live" || !other || busy) continue;
    if (other.innerHTML !== section.innerHTML) section.replaceWith(other);
  }
  $("header").replaceWith($("header", fresh));
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  $("#find").value = find;
  $("#show").value = kind;
  applyFilters();
  if (!waits) document.body.dataset.version = version;
}

// -- wiring: on the document, since sections of a live page are replaced

document.addEventListener("input", (event) => event.target.closest(".filters") && applyFilters());
document.addEventListener("submit", (event) => {
  if (event.target.id !== "filters") return;
  event.preventDefault();
  const first = rows()[0];
  if (first) openTask(first.dataset.task);
});
document.addEventListener("mouseover", (event) => {
  const cell = event.target.closest?.(".map td");
  if (cell && !cell.title) cell.title = nameOf(cell);
});
document.addEventListener("click", (event) => {
  const cell = event.target.closest(".map td");
  if (cell) openCell(cell);
  const group = event.target.closest("[data-find]");
  if (group) {
    $("#find").value = group.dataset.find;
    $("#show").value = "";
    applyFilters();
    $("#tasks").scrollIntoView();
    group.blur();
  }
  const button = event.target.closest(".map th button");
  if (button) openTask(button.closest("tr").dataset.task);
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if ($("#viewer").open) {
    if (typing || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  } else if (event.key === "/" && !typing) {
    event.preventDefault();
    $("#find").focus();
    $("#find").scrollIntoView({ block: "center" });
  } else moveIn(event);
});
$("#previous").addEventListener("click", () => step(-1));
$("#next").addEventListener("click", () => step(1));
$("#viewer").addEventListener("close", () => {
  history.replaceState(null, "", location.pathname + location.search);
  opened?.from?.focus?.();
  opened = null;
});
window.addEventListener("hashchange", openTarget);
openTarget();
if (live) follow();
