// Figures as one picture, sharp enough for print, on the background of the theme, with a caption.

const RATIO = 2; // pixels of the picture for one of the page
const MARGIN = 10;
const LINE = 18;

/** A PNG of *plots* as they lie on the page, with the parts of *caption* below. */
export async function picture(plots, caption) {
  const views = plots.map((plot) => window.Bokeh.index.find_one(plot));
  const boxes = views.map((view) => view.el.getBoundingClientRect());
  const left = Math.min(...boxes.map((box) => box.left));
  const top = Math.min(...boxes.map((box) => box.top));
  const width = Math.ceil(Math.max(...boxes.map((box) => box.right)) - left);
  const height = Math.ceil(Math.max(...boxes.map((box) => box.bottom)) - top);
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--dqm-${name}`).trim();
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  const font = `12px ${token("font-family")}`;
  context.font = font;
  const lines = broken(caption, width - 2 * MARGIN, (words) => context.measureText(words).width);
  canvas.width = RATIO * width;
  canvas.height = RATIO * (height + lines.length * LINE + MARGIN);
  context.fillStyle = token("surface");
  context.fillRect(0, 0, canvas.width, canvas.height);
  const layers = sharply(() => views.map((view) => view.export("png", true).canvas));
  layers.forEach((layer, at) => {
    context.drawImage(layer, Math.round(RATIO * (boxes[at].left - left)), Math.round(RATIO * (boxes[at].top - top)));
  });
  context.scale(RATIO, RATIO);
  context.font = font;
  context.fillStyle = token("muted");
  context.textBaseline = "middle";
  lines.forEach((line, at) => context.fillText(line, MARGIN, height + (at + 0.5) * LINE));
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob === null ? reject(new Error("the picture is too large")) : resolve(blob)), "image/png");
  });
}

// Bokeh draws what it exports at the density of the screen
function sharply(draw) {
  const before = Object.getOwnPropertyDescriptor(window, "devicePixelRatio");
  Object.defineProperty(window, "devicePixelRatio", { value: RATIO, configurable: true });
  try {
    return draw();
  } finally {
    if (before === undefined) delete window.devicePixelRatio;
    else Object.defineProperty(window, "devicePixelRatio", before);
  }
}

// as many parts on a line as fit
function broken(parts, width, measured) {
  const lines = [];
  for (const part of parts) {
    const longer = lines.length === 0 ? part : `${lines.at(-1)} · ${part}`;
    if (lines.length > 0 && measured(longer) <= width) lines[lines.length - 1] = longer;
    else lines.push(part);
  }
  return lines;
}
