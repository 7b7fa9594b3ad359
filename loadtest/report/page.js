// One pointer for all charts that share the time axis: a hair, and the values there in the legends.
(() => {
  const charts = JSON.parse(document.getElementById("data").textContent).map((data) => {
    const figure = document.getElementById(data.id);
    const filled = data.series.filter((line) => line.points.length);
    return { data, lines: filled, plot: figure.querySelector(".plot"),
      hair: figure.querySelector(".hair"), values: [...figure.querySelectorAll(".legend b")] };
  });
  const shown = (value, unit) => {
    if (value === null || value === undefined) return "–";
    if (unit === "s" && value < 1) return Math.round(value * 1000) + " ms";
    return value.toLocaleString("en", { maximumSignificantDigits: value < 1000 ? 3 : 6 });
  };
  const at = (line, x) => {
    let low = 0, high = line.points.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (line.points[middle][0] <= x) low = middle; else high = middle - 1;
    }
    const next = line.points[low + 1];
    if (!line.step && next && next[0] - x < x - line.points[low][0]) low += 1;
    return line.points[low][0] > x + 1e9 ? null : line.points[low][1];
  };
  const point = (chart, x) => {
    const { box, x: range, unit } = chart.data;
    const part = (x - range[0]) / (range[1] - range[0]);
    const { width, height } = chart.plot.getBoundingClientRect();
    chart.hair.hidden = false;
    chart.hair.style.left = (box[0] + part * (box[2] - box[0])) * width + "px";
    chart.hair.style.top = box[1] * height + "px";
    chart.hair.style.height = (box[3] - box[1]) * height + "px";
    chart.lines.forEach((line, n) => { chart.values[n].textContent = shown(at(line, x), unit); });
  };
  const clear = (chart) => {
    chart.hair.hidden = true;
    chart.values.forEach((value) => { value.textContent = ""; });
  };
  charts.forEach((chart) => {
    const together = chart.data.time ? charts.filter((each) => each.data.time) : [chart];
    chart.plot.addEventListener("pointermove", (event) => {
      const { left, width } = chart.plot.getBoundingClientRect();
      const { box, x: range } = chart.data;
      const part = ((event.clientX - left) / width - box[0]) / (box[2] - box[0]);
      if (part < 0 || part > 1) { together.forEach(clear); return; }
      together.forEach((each) => point(each, range[0] + part * (range[1] - range[0])));
    });
    chart.plot.addEventListener("pointerleave", () => together.forEach(clear));
  });
})();
