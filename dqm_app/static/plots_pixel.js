// The controls of the biography of a pixel, and the list of its changes of state beside the figures.

import { ask, go, href, inView, note, onAsk, wanted } from "./address.js";
import { complain, element, isOurs, text } from "./html.js";
import { plural } from "./format.js";
import { formatPixels, parsePixels } from "./address_values.js";
import { opensRun, runLink } from "./plots_trends.js";

const LISTED = 8; // picked pixels that have a button
const LEVELS = [["pixel", "Pixel"], ["module", "Module"]];

export class Pixel {
  constructor(document_) {
    this.pixel = null;
    this.back = this.step("‹", "Previous", -1);
    this.on = this.step("›", "Next", 1);
    this.entry = element("input", {
      type: "text", class: "entry", size: 8, placeholder: "12 or m5", "aria-label": "Pixel, or m and a module",
      title: "Pixel id, or m and a module; Enter shows it", inputmode: "text",
      keydown: (event) => this.typed(event), input: () => complain(this.entry, ""),
    });
    this.levels = LEVELS.map(([level, title]) => {
      const button = element("button", {
        type: "button", click: () => go({ level: level === "pixel" ? undefined : level }),
        title: level === "module" ? "Mean of the good pixels of the module" : "The pixel itself",
      }, [title]);
      button.dataset.level = level;
      return button;
    });
    this.module = element("span", { class: "pixel-module" });
    this.picked = element("span", { class: "pixel-module" });
    this.map = element("a", {
      class: "run-link", title: "The run in front in the camera maps, with this picked",
      click: (event) => {
        if (!isOurs(event)) return;
        event.preventDefault();
        go(this.inMap);
      },
    }, ["On the map"]);
    onAsk(() => this.others());
    this.key = element("span", { class: "trend-key" });
    this.root = element("span", { class: "trend-controls" }, [
      element("span", { class: "choice", role: "group", "aria-label": "Which pixel" }, [this.back, this.entry, this.on]),
      element("span", { class: "choice", role: "group", "aria-label": "Pixel or module" }, this.levels),
      this.module, this.picked, this.map, this.key,
    ]);
    this.counts = element("p", { class: "pixel-counts" });
    this.title = element("h3", {}, ["Changes of state"]);
    this.list = element("ol", {});
    this.more = element("p", { class: "pixel-more" });
    this.scale = element("p", { class: "pixel-scale" }, [
      element("span", {}, ["−5"]), element("i", { "aria-hidden": "true" }), element("span", {}, ["+5"]),
      element("span", { class: "words" }, ["widths from the camera’s median"]),
    ]);
    document.getElementById("view-pixel").append(element("aside", {
      class: "pixel-changes", "aria-label": "Changes of state",
    }, [this.title, this.counts, this.list, this.more, this.scale]));
    opensRun(document_.get_model_by_name("pixel-history-values"));
    const strips = document_.get_model_by_name("pixel-deviations-rows");
    strips.selected.properties.indices.change.connect(() => {
      const [row] = strips.selected.indices;
      if (row === undefined) return;
      const quantity = strips.data.name[row];
      strips.selected.setv({ indices: [], image_indices: [] }, { sync: false });
      if (quantity !== wanted.quantity) go({ quantity });
    });
  }

  step(label, words, by) {
    return element("button", {
      type: "button", "aria-label": `${words} pixel`, title: `${words} pixel, or module`,
      click: () => this.go(this.pixel + by * (this.level === "module" ? this.perModule : 1)),
    }, [label]);
  }

  go(pixel) {
    go({ pixel: Math.min(Math.max(pixel, 0), this.last) });
  }

  typed(event) {
    if (event.key === "Escape") {
      this.entry.value = this.pixel === null ? "" : this.shown();
      complain(this.entry, "");
      this.entry.blur();
      event.stopPropagation();
    }
    if (event.key !== "Enter") return;
    const words = this.entry.value.trim();
    const pixels = /^m?\d+$/i.test(words) ? parsePixels(words) : null;
    complain(this.entry, pixels === null
      ? `Pixels are 0–${this.last}, modules m0–m${(this.last + 1) / this.perModule - 1}: for example 12 or m5` : "");
    if (pixels === null) return;
    this.entry.blur(); // the keyboard belongs to the page and its shortcuts again
    go({ pixel: pixels[0], level: pixels.length > 1 ? "module" : undefined });
  }

  shown() {
    return this.level === "module" ? `m${this.pixel / this.perModule | 0}` : String(this.pixel);
  }

  show({ pixel: info }) {
    if (info === undefined) return;
    const { pixel, module, level, last, perModule, counts, changes, allChanges, steady, noun } = info;
    const other = pixel !== this.pixel || level !== this.level;
    Object.assign(this, { pixel, level, last, perModule });
    if (other && document.activeElement !== this.entry) {
      this.entry.value = pixel === null ? "" : this.shown();
      complain(this.entry, "");
    }
    const whole = level === "module";
    this.back.disabled = pixel === null || (whole ? module === 0 : pixel === 0);
    this.on.disabled = pixel === null || (whole ? (module + 1) * perModule > last : pixel === last);
    for (const button of this.levels) {
      button.disabled = pixel === null;
      button.setAttribute("aria-pressed", String(button.dataset.level === level));
    }
    this.module.replaceChildren(...(pixel === null ? [] : this.pixels(module, perModule, whole ? null : pixel)));
    this.others();
    const line = (look, words) => element("span", { class: "key" },
      [element("i", { class: `limit-line ${look}`, "aria-hidden": "true" }), words]);
    this.key.replaceChildren(...(pixel === null ? [] : [
      line("own", whole ? `${noun}, mean` : noun), line("around", whole ? "its pixels" : "others of its module"),
      line("camera", "camera median ± robust width"),
    ]));
    this.counts.replaceChildren(...counts.map(([key, words, runs]) => {
      const made = element("span", { class: "key" },
        [element("i", { class: `state ${key}`, "aria-hidden": "true" }), `${words.split(":")[0]} in ${plural(runs, "run")}`]);
      return made;
    }));
    this.list.replaceChildren(...changes.map(([run, words, key]) => element("li", { class: key },
      [runLink(run), `: ${words}`])));
    text(this.more, allChanges === 0 ? steady
      : allChanges > changes.length ? `The newest ${changes.length} of ${allChanges} changes.` : "");
    if (pixel === null) this.fromPicked();
  }

  pixels(module, perModule, own) {
    const first = module * perModule;
    return [element("span", { class: "label" }, [`module ${module}: `]),
      ...Array.from({ length: perModule }, (_, at) => this.button(first + at, own))];
  }

  button(pixel, own) {
    const button = element("button", {
      type: "button", class: "plain", title: `Biography of pixel ${pixel}`,
      click: () => go({ pixel, level: undefined }),
    }, [String(pixel)]);
    if (pixel === own) button.setAttribute("aria-current", "true");
    return button;
  }

  // where what is shown is on the map
  get inMap() {
    const module = this.level === "module";
    const first = module ? Math.floor(this.pixel / this.perModule) * this.perModule : this.pixel;
    const pixels = Array.from({ length: module ? this.perModule : 1 }, (_, at) => first + at);
    return {
      view: "maps", quantity: wanted.quantity, pixels: formatPixels(pixels),
      level: module ? "module" : undefined,
    };
  }

  // the picked pixels, and the way back to the map
  others() {
    const picked = parsePixels(wanted.pixels ?? "") ?? [];
    const own = this.level === "module" ? null : this.pixel;
    const more = picked.length - LISTED;
    this.picked.replaceChildren(...(picked.every((pixel) => pixel === own) ? [] : [
      element("span", { class: "label" }, ["picked: "]),
      ...picked.slice(0, LISTED).map((pixel) => this.button(pixel, own)),
      ...(more > 0 ? [element("span", { class: "label", title: picked.join(", ") }, [` and ${more} more`])] : []),
    ]));
    this.map.hidden = this.pixel === null;
    if (this.pixel !== null) this.map.href = href({ ...inView("maps"), ...this.inMap });
  }

  // nobody said which pixel: the first one that is picked
  fromPicked() {
    const [pixel] = parsePixels(wanted.pixels ?? "") ?? [];
    if (pixel === undefined) return;
    note({ pixel }); // no entry in the history: going back would only come here again
    queueMicrotask(ask);
  }
}
