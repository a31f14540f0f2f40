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
  createChartEx,
  CrosshairMode,
  defaultHorzScaleBehavior,
  LineStyle,
  type AutoscaleInfo,
  type BarPrice,
  type IChartApiBase,
  type IHorzScaleBehavior,
  type ISeriesApi,
  type TickMark,
  type TickMarkWeightValue,
  type Time,
  type UTCTimestamp,
} from "lightweight-charts";

import { formatCents, type Cents, type Resolution } from "../../src/index.js";
import { markAt, markLabel, stepFor, timeLabel, type Mark, type Step } from "./axis.js";
import type { Bar } from "./course.js";

/** The least span of the axis, in cents: what stands still would else be measured in parts of a cent. */
const SPAN_MIN = 100;

/** A line over the range's first value, green above it and red below; or candles. */
export type Style = "line" | "candles";

type TimePoints = Parameters<IHorzScaleBehavior<Time>["fillWeightsForPoints"]>[0];

/** The library's scale of time, with marks where `axis` wants them: its own stand at hours of UTC, and odd seconds. */
class RoundTimes extends defaultHorzScaleBehavior() {
  step: Step = stepFor(0, "1m", 0);
  resolution: Resolution = "1m";

  override fillWeightsForPoints(points: TimePoints, start: number): void {
    const last = points[start - 1];
    let before = last === undefined ? null : this.key(last.time);
    for (const point of points.slice(start)) {
      const time = this.key(point.time);
      // Of two that have no room beside each other the library keeps the one with the greater weight.
      const mark: number = markAt(this.step, this.resolution, before, time);
      point.timeWeight = mark as TickMarkWeightValue;
      before = time;
    }
  }

  override formatTickmark({ weight, time }: TickMark): string {
    const mark: number = weight;
    return markLabel(mark as Mark, this.key(time));
  }
}

/** Draws bars; `onHover` is told the one under the pointer, null when there is none any more. */
export class Plot {
  readonly #element: HTMLElement;
  readonly #times = new RoundTimes();
  readonly #chart: IChartApiBase<Time>;
  #series: ISeriesApi<"Baseline"> | ISeriesApi<"Candlestick"> | null = null;
  #style: Style = "line";
  #bars: readonly Bar[] = [];
  /** With a span of less than $100 the axis shows cents. */
  #showsCents = true;

  constructor(element: HTMLElement, onHover: (bar: Bar | null) => void) {
    this.#element = element;
    this.#chart = createChartEx<Time, RoundTimes>(element, this.#times, {
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
        allowBoldLabels: false,
      },
      localization: {
        priceFormatter: (cents: BarPrice) => this.#axisLabel(cents),
        timeFormatter: (time: Time) => timeLabel(seconds(time), this.#times.resolution),
      },
    });
    this.#chart.subscribeCrosshairMove(({ logical }) => {
      onHover(logical === undefined ? null : (this.#bars[Math.round(logical)] ?? null));
    });
    this.#chart.timeScale().subscribeSizeChange(() => {
      if (this.#times.step !== this.#fittingStep()) this.#setBars();
    });
  }

  /** Draw other bars. */
  draw(bars: readonly Bar[], resolution: Resolution, style: Style): void {
    if (style !== this.#style || this.#series === null) this.#replaceSeries(style);
    this.#style = style;
    this.#times.resolution = resolution;
    this.#bars = bars;
    this.#setBars();
    this.recolour();
    this.#fit();
  }

  /** Draw the newest bars again, from the one with an index on. */
  extend(bars: readonly Bar[], from: number): void {
    this.#bars = bars;
    if (this.#times.step !== this.#fittingStep()) this.#setBars();
    else for (const bar of bars.slice(from)) this.#series?.update(pointOf(bar));
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
      autoscaleInfoProvider: (own: () => AutoscaleInfo | null) => atLeastSpan(own()),
      // The legend says the last value in full.
      lastValueVisible: false,
      priceLineStyle: LineStyle.SparseDotted,
    } as const;
    this.#series =
      style === "line"
        ? this.#chart.addSeries(BaselineSeries, { ...common, lineWidth: 2 })
        : this.#chart.addSeries(CandlestickSeries, { ...common, borderVisible: false });
  }

  #fittingStep(): Step {
    return stepFor(this.#bars.length, this.#times.resolution, this.#chart.timeScale().width());
  }

  /** Draw all bars, with the marks that fit: bars that the library has already would keep the marks that they had. */
  #setBars(): void {
    this.#times.step = this.#fittingStep();
    this.#series?.setData([]);
    this.#series?.setData(this.#bars.map(pointOf));
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

/** What the library would show, widened to both sides if it is less than the least span. */
function atLeastSpan(info: AutoscaleInfo | null): AutoscaleInfo | null {
  if (info === null || info.priceRange === null) return info;
  const { minValue, maxValue } = info.priceRange;
  const lacking = Math.max(0, SPAN_MIN - (maxValue - minValue)) / 2;
  return { ...info, priceRange: { minValue: minValue - lacking, maxValue: maxValue + lacking } };
}

function pointOf(
  bar: Bar,
): { time: UTCTimestamp; value: number } & Pick<Bar, "open" | "high" | "low"> & { close: number } {
  const { time, open, high, low, last } = bar;
  return { time: time as UTCTimestamp, value: last, open, high, low, close: last };
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
