/**
 * The canvas: bars drawn by lightweight-charts, in the colours of the page.
 *
 * Lives here: all that is known of the chart library. Not here: which bars there are (`course`). The library writes no
 * style sheet as long as its logo is off (it is named at the foot of the page instead), so the page's policy needs no
 * exception. Prices on the chart are whole cents.
 */

import {
  BaselineSeries,
  CandlestickSeries,
  ColorType,
  createChart,
  CrosshairMode,
  LineStyle,
  type BarPrice,
  type IChartApi,
  type ISeriesApi,
  type Time,
  type UTCTimestamp,
} from "lightweight-charts";

import { formatCents, type Cents, type Resolution } from "../../src/index.js";
import { axisOffset, tickLabel, timeLabel } from "./axis.js";
import type { Bar } from "./course.js";

/** A line over the range's first value, green above it and red below; or candles. */
export type Style = "line" | "candles";

/** Draws bars; `onHover` is told the one under the pointer, null when there is none any more. */
export class Plot {
  readonly #element: HTMLElement;
  readonly #chart: IChartApi;
  #series: ISeriesApi<"Baseline"> | ISeriesApi<"Candlestick"> | null = null;
  #style: Style = "line";
  #resolution: Resolution = "1m";
  #bars: readonly Bar[] = [];
  /** From a bar's time to that on the axis, in seconds. */
  #offset = 0;
  /** With a span of less than $100 the axis shows cents. */
  #showsCents = true;

  constructor(element: HTMLElement, onHover: (bar: Bar | null) => void) {
    this.#element = element;
    this.#chart = createChart(element, {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: getComputedStyle(element).fontFamily, fontSize: 11 },
      // The wheel and the finger belong to the page; ranges are chosen with buttons.
      handleScroll: false,
      handleScale: false,
      crosshair: { mode: CrosshairMode.Magnet },
      rightPriceScale: { borderVisible: false, entireTextOnly: true, scaleMargins: { top: 0.08, bottom: 0.08 } },
      timeScale: {
        borderVisible: false,
        fixLeftEdge: true,
        fixRightEdge: true,
        lockVisibleTimeRangeOnResize: true,
        tickMarkFormatter: (time: Time, kind: number) => tickLabel(seconds(time), kind, this.#resolution, this.#offset),
      },
      localization: {
        priceFormatter: (cents: BarPrice) => this.#axisLabel(cents),
        timeFormatter: (time: Time) => timeLabel(seconds(time) - this.#offset, this.#resolution),
      },
    });
    this.#chart.subscribeCrosshairMove(({ logical }) => {
      onHover(logical === undefined ? null : (this.#bars[Math.round(logical)] ?? null));
    });
  }

  /** Draw other bars. */
  draw(bars: readonly Bar[], resolution: Resolution, style: Style): void {
    if (style !== this.#style || this.#series === null) this.#replaceSeries(style);
    this.#style = style;
    this.#resolution = resolution;
    this.#bars = bars;
    this.#offset = axisOffset(bars.at(-1)?.time ?? 0, resolution);
    this.#chart.applyOptions({ timeScale: { timeVisible: resolution !== "1d", secondsVisible: resolution === "raw" } });
    this.#series?.setData(bars.map((bar) => this.#point(bar)));
    this.recolour();
    this.#fit();
  }

  /** Draw the newest bars again, from the one with an index on. */
  extend(bars: readonly Bar[], from: number): void {
    this.#bars = bars;
    for (const bar of bars.slice(from)) this.#series?.update(this.#point(bar));
    if (this.#style === "line") this.#series?.applyOptions(this.#lineColours());
    this.#fit();
  }

  /** Take the colours of the page as they are now. */
  recolour(): void {
    this.#chart.applyOptions({
      layout: { background: { type: ColorType.Solid, color: "transparent" }, textColor: this.#colour("axis") },
      grid: { vertLines: { visible: false }, horzLines: { color: this.#colour("grid") } },
      crosshair: {
        vertLine: { color: this.#colour("crosshair"), labelBackgroundColor: this.#colour("tag") },
        horzLine: { color: this.#colour("crosshair"), labelBackgroundColor: this.#colour("tag") },
      },
    });
    this.#series?.applyOptions(this.#style === "line" ? this.#lineColours() : this.#candleColours());
  }

  #replaceSeries(style: Style): void {
    if (this.#series !== null) this.#chart.removeSeries(this.#series);
    const common = {
      priceFormat: { type: "custom", minMove: 1, formatter: (cents: BarPrice) => this.#axisLabel(cents) },
      // The legend says the last value in full.
      lastValueVisible: false,
      priceLineStyle: LineStyle.SparseDotted,
    } as const;
    this.#series =
      style === "line"
        ? this.#chart.addSeries(BaselineSeries, { ...common, lineWidth: 2 })
        : this.#chart.addSeries(CandlestickSeries, { ...common, borderVisible: false });
  }

  #point(bar: Bar): { time: UTCTimestamp; value: number } & { open: number; high: number; low: number; close: number } {
    const { time, open, high, low, last } = bar;
    return { time: (time + this.#offset) as UTCTimestamp, value: last, open, high, low, close: last };
  }

  #lineColours(): Record<string, unknown> {
    const base = this.#bars[0]?.open ?? 0;
    const up = this.#colour("line-up");
    const down = this.#colour("line-down");
    return {
      baseValue: { type: "price", price: base },
      topLineColor: up,
      topFillColor1: faded(up, 0.22),
      topFillColor2: faded(up, 0.02),
      bottomLineColor: down,
      bottomFillColor1: faded(down, 0.02),
      bottomFillColor2: faded(down, 0.22),
      priceLineColor: (this.#bars.at(-1)?.last ?? 0) < base ? down : up,
    };
  }

  #candleColours(): Record<string, unknown> {
    const up = this.#colour("line-up");
    const down = this.#colour("line-down");
    return { upColor: up, wickUpColor: up, downColor: down, wickDownColor: down };
  }

  #fit(): void {
    this.#showsCents = spread(this.#bars, this.#style) < 10_000;
    this.#chart.timeScale().fitContent();
  }

  #axisLabel(cents: number): string {
    if (this.#showsCents) return formatCents(Math.round(cents) as Cents);
    return formatCents((Math.round(cents / 100) * 100) as Cents).slice(0, -".00".length);
  }

  #colour(name: string): string {
    return getComputedStyle(this.#element).getPropertyValue(`--${name}`).trim();
  }
}

function seconds(time: Time): number {
  return typeof time === "number" ? time : 0; // only numbers are ever handed in
}

/** `rgb(1, 2, 3)`, as browsers resolve colours, with an opacity. */
function faded(colour: string, opacity: number): string {
  const channels = /^rgb\((\d+), (\d+), (\d+)\)$/.exec(colour);
  return channels === null ? colour : `rgba(${channels.slice(1).join(", ")}, ${opacity})`;
}

/** How far apart the lowest and the highest point are that are drawn, in cents. */
function spread(bars: readonly Bar[], style: Style): number {
  let lowest = Infinity;
  let highest = -Infinity;
  for (const { low, high, last } of bars) {
    lowest = Math.min(lowest, style === "line" ? last : low);
    highest = Math.max(highest, style === "line" ? last : high);
  }
  return highest - lowest;
}
