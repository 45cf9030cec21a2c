// The picked curve under the pointer: its pixel (or module) stands out on the map beside it, and the
// words about the camera as a whole step back for those about the curve.

import { PER_MODULE } from "./address_values.js";

export function pointOut(document_, layout) {
  for (const plot of layout.references()) {
    const curves = plot.type === "Plot" ? document_.get_model_by_name(`${plot.name}-picked`) : null;
    const view = layout.name.slice("figures-".length);
    const marks = document_.get_model_by_name(`${view}-map-pointed`);
    const map = document_.get_model_by_name(`${view}-source`);
    if (curves === null || marks === null || map === null) {
      continue;
    }
    let shown = null;
    const show = (at) => {
      const id = curves.data.id[at] ?? null;
      if (id !== null) {
        queueMicrotask(() => quiet(plot, curves)); // once all hovers have had this move
      }
      if (id === shown) {
        return;
      }
      shown = id;
      const pixels = id === null ? [] : curves.tags[0] === "module"
        ? Array.from({ length: PER_MODULE }, (_, n) => id * PER_MODULE + n) : [id];
      marks.setv({
        data: { x: pixels.map((pixel) => map.data.x[pixel]), y: pixels.map((pixel) => map.data.y[pixel]) },
      }, { sync: false });
    };
    curves.inspect.connect(() => show(curves.inspected.indices[0] ?? -1));
    curves.properties.data.change.connect(() => show(-1));
    plot.on_event("mouseleave", () => show(-1));
  }
}

// take away the tooltips of a plot but those of its picked curves
function quiet(plot, curves) {
  for (const tool of plot.toolbar.tools) {
    if (tool.type === "HoverTool" && tool.renderers.every((drawn) => drawn.data_source !== curves)) {
      for (const tooltip of window.Bokeh.index.find_one(tool)?.ttmodels?.values() ?? []) {
        tooltip.clear();
      }
    }
  }
}
