"use strict";
{
  const page = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const { tracks } = page;
  const genres = [...page.genres];
  const rows = []; // of each track: its elements
  const player = at("player");
  let choices = new Map(); // by track_id, of tracks of earlier pages too: { uri, genre, predicted, confidence }
  let current = -1;
  let playing = -1;
  let isKept = true;

  // Every text goes into the page as text, never as HTML.
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  const percent = (share) => `${Math.round(100 * share)}\u202f%`;
  const say = (text) => { at("said").textContent = text; };

  // What is kept in the browser. Another window may have written there since.

  function recall() {
    try {
      choices = new Map(JSON.parse(localStorage.getItem(page.key) ?? "[]"));
      for (const { genre } of choices.values()) if (!genres.includes(genre)) genres.push(genre);
    } catch {
      choices = new Map();
    }
  }

  function keep() {
    try {
      localStorage.setItem(page.key, JSON.stringify([...choices]));
      isKept = true;
    } catch {
      isKept = false; // storage is full or forbidden
    }
  }

  // Rows.

  function build(track, i) {
    const name = make("span", { id: `name-${i}`, class: "name", dir: "auto", title: track.uri }, track.name);
    const said = [track.where, track.truth === null ? "" : `in the catalog: ${track.truth}`].filter(Boolean);
    const where = make("span", { id: `where-${i}`, class: "where", dir: "auto", title: said.join(", ") }, said.join(", "));
    const play = make("button", { type: "button", class: "play", tabindex: -1, "aria-label": `Play ${track.name}` });
    if (track.src === null) {
      play.disabled = true;
      play.title = "browsers have no player for this address";
    }
    const best = make("div", { class: "best", role: "group", "aria-label": "Most probable genres" });
    for (const [k, [genre, probability]] of track.best.entries()) {
      const bar = make("i", {});
      bar.style.width = `${100 * probability}%`;
      const key = make("kbd", { "aria-hidden": true }, String(k + 1));
      const share = make("small", {}, percent(probability));
      const button = make("button", { type: "button", tabindex: -1, "aria-pressed": false }, key, make("bdi", {}, genre), share, bar);
      button.addEventListener("click", () => decide(i, genre));
      best.append(button);
    }
    const select = make("select", { tabindex: -1, "aria-label": `Genre of ${track.name}` });
    const free = make("input", {
      type: "text", tabindex: -1, hidden: "", autocomplete: "off", placeholder: "new genre, then Enter", "aria-label": `New genre of ${track.name}`,
    });
    const element = make(
      "div", { class: "row", role: "group", tabindex: -1, "aria-labelledby": `name-${i} where-${i}` },
      play, make("div", { class: "what" }, name, where), best, make("div", { class: "other" }, select, free),
    );
    rows.push({ element, play, best: [...best.children], select, free, filled: -1 });
    element.addEventListener("focusin", () => enter(i));
    play.addEventListener("click", () => toggle(i));
    for (const event of ["pointerdown", "focus"]) select.addEventListener(event, () => fill(i));
    select.addEventListener("change", () => pick(i));
    free.addEventListener("keydown", (event) => {
      if (event.key === "Enter") name_new(i);
    });
    free.addEventListener("blur", () => {
      if (free.value.trim()) name_new(i);
      else close(i);
    });
    return make("li", {}, element);
  }

  // A list of all genres is made where it is wanted: hundreds of them would slow the page.
  function fill(i) {
    const { select, filled } = rows[i];
    if (filled === genres.length) return;
    rows[i].filled = genres.length;
    select.replaceChildren(new Option("other genre"), ...genres.map((genre) => new Option(genre)), new Option("a new genre…"));
    show(i);
  }

  function show(i) {
    const { element, best, select, filled } = rows[i];
    const genre = choices.get(tracks[i].id)?.genre;
    element.classList.toggle("chosen", genre !== undefined);
    for (const [k, button] of best.entries()) button.setAttribute("aria-pressed", tracks[i].best[k][0] === genre);
    const place = genre === undefined ? 0 : genres.indexOf(genre) + 1;
    if (filled < place) {
      rows[i].filled = -1;
      select.replaceChildren(new Option("other genre"), ...(place ? [new Option(genre)] : []));
      select.selectedIndex = place ? 1 : 0;
    } else {
      select.selectedIndex = place;
    }
  }

  function count() {
    const here = tracks.filter((track) => choices.has(track.id)).length;
    const earlier = choices.size - here;
    at("progress").value = here;
    at("count").textContent = `${here} of ${tracks.length} chosen` + (earlier ? `, ${earlier} on earlier pages` : "");
    at("save").disabled = choices.size === 0;
  }

  // Where one is.

  function enter(i) {
    if (i === current) return;
    if (current >= 0) mark(current, false);
    current = i;
    mark(i, true);
  }

  function mark(i, is_current) {
    const { element, play, best, select, free } = rows[i];
    element.classList.toggle("current", is_current);
    for (const control of [element, play, ...best, select, free]) control.tabIndex = is_current ? 0 : -1;
  }

  function go(i) {
    if (i < 0 || i >= rows.length) return;
    enter(i);
    const { element } = rows[i];
    element.focus({ preventScroll: true });
    element.scrollIntoView({ block: "nearest" });
  }

  function next_without(i) {
    for (let k = 1; k <= tracks.length; k += 1) {
      const place = (i + k) % tracks.length;
      if (!choices.has(tracks[place].id)) return place;
    }
    return -1;
  }

  // Choices.

  function choose(i, genre) {
    const { id, uri, genre: predicted, confidence } = tracks[i];
    if (genre) choices.set(id, { uri, genre, predicted, confidence });
    else choices.delete(id);
    if (genre && !genres.includes(genre)) genres.push(genre);
    keep();
    show(i);
    count();
    const what = genre ? `${genre}: ${tracks[i].name}` : `no choice: ${tracks[i].name}`;
    say(isKept ? what : `${what}. This browser keeps nothing: save corrections.csv before you leave the page`);
  }

  function decide(i, genre) {
    choose(i, genre);
    if (!at("advance").checked || i + 1 >= tracks.length) return;
    go(i + 1);
    if (playing === i && !player.paused && tracks[i + 1].src !== null) toggle(i + 1);
  }

  function pick(i) {
    const { select } = rows[i];
    if (select.selectedIndex === select.length - 1) open(i);
    else choose(i, genres[select.selectedIndex - 1]);
  }

  function open(i) {
    const { free } = rows[i];
    free.hidden = false;
    free.focus();
  }

  function close(i) {
    const { free } = rows[i];
    free.value = "";
    free.hidden = true;
    show(i);
  }

  function name_new(i) {
    const genre = rows[i].free.value.trim();
    const had_focus = document.activeElement === rows[i].free;
    rows[i].free.value = ""; // before the focus goes, which asks again
    if (had_focus) go(i);
    close(i);
    if (genre && had_focus) decide(i, genre);
    else if (genre) choose(i, genre);
  }

  // Sound.

  function toggle(i) {
    if (tracks[i].src === null) return;
    if (playing === i) {
      if (player.paused) player.play().catch(() => {});
      else player.pause();
      return;
    }
    const before = playing;
    playing = i;
    if (before >= 0) sound(before);
    player.src = tracks[i].src;
    player.play().catch(() => {}); // an error has its event
  }

  function sound(i) {
    const is_on = i === playing && !player.paused;
    rows[i].play.classList.toggle("on", is_on);
    rows[i].play.setAttribute("aria-label", `${is_on ? "Pause" : "Play"} ${tracks[i].name}`);
  }

  for (const event of ["play", "pause", "ended"]) {
    player.addEventListener(event, () => {
      if (playing >= 0) sound(playing);
    });
  }
  player.addEventListener("playing", () => {
    rows[playing].element.classList.remove("broken");
    say(`playing ${tracks[playing].name}`);
  });
  player.addEventListener("error", () => {
    if (playing < 0) return;
    rows[playing].element.classList.add("broken");
    sound(playing);
    say(`this browser cannot play ${tracks[playing].uri}`);
  });

  // Keys: within a row all of them, elsewhere on the page only those that lead to one.

  const keys = {
    ArrowDown: (i) => go(i + 1),
    ArrowUp: (i) => go(i - 1),
    j: (i) => go(i + 1),
    k: (i) => go(i - 1),
    u: (i) => go(next_without(i)),
    " ": (i) => toggle(i),
    ArrowLeft: () => { player.currentTime = Math.max(0, player.currentTime - 5); },
    ArrowRight: () => { player.currentTime += 5; },
    0: (i) => choose(i, ""),
    Backspace: (i) => choose(i, ""),
    Delete: (i) => choose(i, ""),
    g: (i) => rows[i].select.focus(),
    n: (i) => open(i),
  };

  // Above the list the arrow scrolls, as everywhere.
  function is_seen(i) {
    const place = rows[i]?.element.getBoundingClientRect();
    return place !== undefined && place.top < innerHeight && place.bottom > 0;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const { target, key } = event;
    const is_outside = target === document.body;
    if (!is_outside && target.closest(".row") === null) return;
    if (target.matches("input, select")) {
      if (key === "Escape") {
        if (target.matches("input")) target.value = "";
        go(current);
      }
      return;
    }
    if (target.matches("button") && key === " ") return; // presses it
    const best = tracks[current]?.best[key - 1];
    if (is_outside) {
      if (!["j", "k", "u"].includes(key) && !(key === "ArrowDown" && is_seen(Math.max(0, current)))) return;
      go(current >= 0 ? current : Math.max(0, next_without(-1)));
    } else if (best) {
      decide(current, best[0]);
    } else if (Object.hasOwn(keys, key)) {
      keys[key](current);
    } else {
      return;
    }
    event.preventDefault();
  });

  // corrections.csv, a manifest. A spreadsheet takes texts that begin with = + - @ for formulas: they get an apostrophe
  // in front, which genreray takes away again (genreray/catalog/manifest.py). No address begins with one of these.

  const quoted = (text) => (/[",\n\r]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const guarded = (text) => quoted(/^'*[=+\-@＝＋－＠\t\r]/.test(text) ? `'${text}` : text);

  function csv() {
    const places = new Map(tracks.map((track, i) => [track.id, i]));
    const order = ([id]) => places.get(id) ?? tracks.length;
    const lines = [...choices].sort((a, b) => order(a) - order(b)).map(([id, choice]) => [
      quoted(choice.uri), guarded(id), guarded(choice.genre), guarded(choice.predicted ?? ""), choice.confidence ?? "",
    ].join(","));
    return `\ufeff${["uri,track_id,genre,predicted,confidence", ...lines].join("\n")}\n`;
  }

  at("save").addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    make("a", { href: url, download: "corrections.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    say(`corrections.csv has ${choices.size} tracks`);
  });

  window.addEventListener("storage", (event) => {
    if (event.key !== page.key) return;
    recall();
    for (const i of rows.keys()) show(i);
    count();
  });

  recall();
  at("list").append(...tracks.map(build));
  for (const i of rows.keys()) show(i);
  rows[0].element.tabIndex = 0; // the way into the list
  count();
}
