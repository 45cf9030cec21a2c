// The verdicts of runs and checks in words and signs; dqm_app/data/verdicts.toml has them.

const given = JSON.parse(document.getElementById("session").textContent).verdicts;
const NOT_JUDGED = -1;

/** Map of status to `{key, word, sign, meaning}`, the worst first; -1 is a run never checked. */
export const WORDS = new Map(given.map(([status, key, word, sign, meaning]) => [status, { key, word, sign, meaning }]));

/** The words of a status; those of "not judged" for null and for what is none. */
export function words(status) {
  return WORDS.get(status) ?? WORDS.get(NOT_JUDGED);
}

/** A `span.verdict` with sign and word, coloured by its `data-status`. */
export function badge(status) {
  return sign(status, words(status).word);
}

/** The same with nothing but the sign to be seen, for rows and lists. */
export function mark(status) {
  const made = sign(status);
  made.classList.add("mark");
  made.role = "img";
  made.ariaLabel = words(status).word;
  return made;
}

function sign(status, word = "") {
  const { key, sign: letter, meaning } = words(status);
  const made = document.createElement("span");
  made.className = "verdict";
  made.dataset.status = key;
  made.title = meaning;
  const drawn = document.createElement("span");
  drawn.ariaHidden = "true"; // the word says it
  drawn.textContent = letter;
  made.append(drawn);
  if (word) made.append(word);
  return made;
}
