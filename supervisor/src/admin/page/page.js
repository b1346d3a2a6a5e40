// Fetches this very page every second and moves what has changed into place, so that focus, selection and what was
// opened stay as they are. Nothing is drawn here, and nothing is done while nobody looks.
(() => {
  "use strict";
  const EVERY = 1000, PATIENCE = 5000;
  const live = document.getElementById("live"), connection = document.getElementById("connection");
  let timer = 0, lost = null;

  const follow = (now, next) => {
    if (now.nodeName !== next.nodeName || now.id !== next.id) return now.replaceWith(document.importNode(next, true));
    if (now.nodeType !== Node.ELEMENT_NODE) { if (now.data !== next.data) now.data = next.data; return; }
    // Whether details are open is the reader's affair.
    for (const { name } of [...now.attributes]) if (name !== "open" && !next.hasAttribute(name)) now.removeAttribute(name);
    for (const { name, value } of next.attributes) if (name !== "open" && now.getAttribute(name) !== value) now.setAttribute(name, value);
    let mine = now.firstChild;
    for (const theirs of [...next.childNodes]) {
      const after = mine && mine.nextSibling;
      if (mine) follow(mine, theirs); else now.append(document.importNode(theirs, true));
      mine = after;
    }
    while (mine) { const after = mine.nextSibling; mine.remove(); mine = after; }
  };

  const look = async () => {
    try {
      const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!answer.ok) throw new Error(page.getElementById("silence")?.textContent || `answered ${answer.status}`);
      follow(live, page.getElementById("live"));
      document.title = page.title;
      lost = null;
      connection.textContent = "";
      document.documentElement.classList.remove("stale");
    } catch (error) {
      lost ??= new Date().toLocaleTimeString();
      const text = `No news since ${lost}: ${error.message}`;
      if (connection.textContent !== text) connection.textContent = text;
      document.documentElement.classList.add("stale");
      document.title = "No news · Ratoon";
    }
    if (!document.hidden) timer = setTimeout(look, EVERY);
  };

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) look();
  });
  timer = setTimeout(look, EVERY);
})();
