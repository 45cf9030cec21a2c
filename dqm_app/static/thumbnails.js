// Small camera maps on canvases: a byte per pixel of the camera from the server, coloured here.
//
// Which pixel of the camera a point of the picture belongs to is worked out once; drawing a map is
// then one look-up per point. Pictures are larger than they are shown, so that the browser smooths
// their edges, and so that they are sharp on dense screens.

import { element, text } from "./html.js";

const WIDTH = 208;
const NOBODY = 0xffff;
const SPECIAL = [[253, "--dqm-bad-fill"], [254, "--dqm-absent"], [255, "--dqm-outline"]]; // bad, no value, absent

/** Draws codes of pixels, see dqm_app/views/thumbnails.py. */
export class Painter {
  /** *frame*: positions and size of pixels, and the palette, see dqm_app/views/overview.py. */
  constructor({ x, y, radius, palette }) {
    const reach = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) + radius;
    this.pixels = x.length;
    const scale = WIDTH / (2 * reach(x));
    this.width = WIDTH;
    this.height = Math.ceil(2 * reach(y) * scale);
    this.owner = owners(x, y, radius, scale, this.width, this.height);
    this.palette = palette;
    this.colours = new Uint32Array(256);
    this.image = new ImageData(this.width, this.height);
    this.restyle();
  }

  /** Take the colours of the page's theme. */
  restyle() {
    const style = getComputedStyle(document.documentElement);
    const { palette, colours } = this;
    for (let at = 0; 3 * at < palette.length; at += 1) {
      colours[at] = packed(palette[3 * at], palette[3 * at + 1], palette[3 * at + 2]);
    }
    for (const [code, token] of SPECIAL) {
      const hex = Number.parseInt(style.getPropertyValue(token).trim().slice(1), 16);
      colours[code] = packed(hex >> 16, (hex >> 8) & 255, hex & 255);
    }
  }

  /** Draw *codes*, one per pixel. */
  draw(canvas, codes) {
    const { owner, colours, image } = this;
    const points = new Uint32Array(image.data.buffer);
    for (let at = 0; at < points.length; at += 1) {
      points[at] = owner[at] === NOBODY ? 0 : colours[codes[owner[at]]];
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }
}

// the bytes of an image are red, green, blue, alpha; all machines that run browsers are little-endian
function packed(red, green, blue) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

// the nearest pixel around each point, as far as a hexagon reaches
function owners(x, y, radius, scale, width, height) {
  const owner = new Uint16Array(width * height).fill(NOBODY);
  const nearest = new Float32Array(width * height).fill(Infinity);
  const reach = 1.15 * radius * scale; // no gaps where modules meet
  for (let pixel = 0; pixel < x.length; pixel += 1) {
    const centreX = width / 2 + x[pixel] * scale;
    const centreY = height / 2 - y[pixel] * scale;
    const last = Math.min(height - 1, Math.floor(centreY + reach));
    for (let row = Math.max(0, Math.ceil(centreY - reach)); row <= last; row += 1) {
      const end = Math.min(width - 1, Math.floor(centreX + reach));
      for (let column = Math.max(0, Math.ceil(centreX - reach)); column <= end; column += 1) {
        const distance = (column + 0.5 - centreX) ** 2 + (row + 0.5 - centreY) ** 2;
        const at = row * width + column;
        if (distance < nearest[at] && distance <= reach * reach) {
          nearest[at] = distance;
          owner[at] = pixel;
        }
      }
    }
  }
  return owner;
}

/** All maps, by section; a map that the run does not have says why. */
export class Thumbnails {
  /** `link(address)` makes an anchor, see overview.js. */
  constructor(painter, link) {
    this.painter = painter;
    this.pixels = painter.pixels;
    this.link = link;
    this.cells = new Map();
    this.root = element("div", { class: "groups" });
    new MutationObserver(() => {
      painter.restyle();
      this.draw();
    }).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  /** Show *listing*, with the rows of *codes*; *strong* are those that differ much from *reference*. */
  show(listing, codes, strong, reference) {
    if ([...this.cells.keys()].join() !== listing.map(({ quantity }) => quantity).join()) this.build(listing);
    // as plain bytes: those of Bokeh's arrays have no parts
    this.codes = new Uint8Array(codes.buffer, codes.byteOffset, codes.length);
    for (const map of listing) {
      this.cells.get(map.quantity).show(map, strong.includes(map.quantity) ? reference : null);
    }
    this.draw();
  }

  draw() {
    for (const { row, canvas } of this.cells.values()) {
      if (row !== undefined) this.painter.draw(canvas, this.codes.subarray(row * this.pixels, (row + 1) * this.pixels));
    }
  }

  // sections of few maps come first, since they share a row
  build(listing) {
    const sections = new Map();
    for (const map of listing) sections.set(map.section, [...(sections.get(map.section) ?? []), map]);
    this.cells = new Map(listing.map((map) => [map.quantity, new Cell(map, this.painter, this.link)]));
    const groups = [...sections].map(([title, maps]) => {
      const group = element("section", { class: maps.length > 4 ? "group" : maps.length > 1 ? "group few" : "group few lone" }, [
        element("h3", {}, [title]),
        element("div", { class: "maps" }, maps.map(({ quantity }) => this.cells.get(quantity).root)),
      ]);
      group.style.setProperty("--maps", maps.length);
      return group;
    });
    this.root.replaceChildren(...groups);
  }
}

class Cell {
  constructor({ quantity, title, short }, painter, link) {
    this.canvas = element("canvas", {
      width: painter.width, height: painter.height, role: "img", "aria-label": `Camera map: ${title}`,
    });
    this.reason = element("span", { class: "reason" });
    this.mark = element("span", { class: "differs", role: "img" }, ["Δ"]);
    this.median = element("span", { class: "median" });
    this.title = title;
    this.quantity = quantity;
    this.root = link({ view: "maps", quantity }, [
      this.canvas, this.reason, this.mark,
      element("span", { class: "title" }, [short[0]]), element("span", { class: "of" }, [short[1]]),
      this.median,
    ], { class: "map" });
  }

  show({ row, reason, median, range, bad, unit, shortUnit }, differsFrom) {
    this.row = row;
    const missing = row === undefined;
    this.root.classList.toggle("missing", missing);
    this.canvas.hidden = missing;
    this.reason.hidden = !missing;
    text(this.reason, reason ?? "");
    this.mark.hidden = differsFrom === null;
    this.mark.ariaLabel = `differs much from run ${differsFrom}`;
    text(this.median, bad !== undefined ? `${bad} bad` : median === null || missing ? "–" : [median, shortUnit].join(" "));
    const words = [this.title, this.quantity];
    if (missing) words.push(reason);
    else if (median === null) words.push("No pixel has a value");
    else words.push(`Median ${median} ${unit}, colours from ${range.join(" to ")}`);
    if (differsFrom !== null) words.push(`Differs much from run ${differsFrom}`);
    this.root.title = words.join("\n");
  }
}
