/** The card with the chart: its ranges, its bars, and the figures beneath. */

import type { HistoryRange, Resolution } from "../../src/index.js";
import { Course, type Bar, type Change, type Value } from "../chart/course.js";
import { Plot, type Style } from "../chart/plot.js";
import { legendOf, sentenceOf, SPOKEN } from "../chart/words.js";
import type { Figure } from "../view/figures.js";
import { create, find, reconcile, setOptionalText, setText } from "./elements.js";
import { Switch } from "./switch.js";

const STYLES = [
  { value: "line", label: "Line", spoken: "Line" },
  { value: "candles", label: "Candles", spoken: "Candles" },
] as const;

const RANGES = (["1D", "1W", "1M", "3M", "1Y", "ALL"] as const).map((value) => ({
  value,
  label: value === "ALL" ? "All" : value,
  spoken: SPOKEN[value],
}));

/** Shows the course of the account's equity; `onRange` is told when another range is wanted. */
export class CourseCard {
  readonly #card = find("course", HTMLElement);
  readonly #plotElement = find("plot", HTMLElement);
  readonly #legend = find("legend", HTMLElement);
  readonly #words = find("course-words", HTMLElement);
  readonly #state = find("course-state", HTMLElement);
  readonly #stateText = find("course-state-text", HTMLElement);
  readonly #figures = find("figures", HTMLElement);
  readonly #figuresState = find("figures-state", HTMLElement);
  readonly #course = new Course();
  readonly #plot: Plot;
  readonly #ranges: Switch<HistoryRange>;
  readonly #styles: Switch<Style>;
  #hovered: Bar | null = null;
  #loaded = false;

  constructor(onRange: () => void) {
    this.#plot = new Plot(this.#plotElement, (bar) => {
      this.#hovered = bar;
      this.#showLegend();
    });
    this.#ranges = new Switch("ranges", RANGES, "1D", () => {
      this.clear();
      onRange();
    });
    this.#styles = new Switch("styles", STYLES, "line", () => this.#draw());
  }

  get range(): HistoryRange {
    return this.#ranges.value;
  }

  /** Show history; `newest` is the newest value known, which it may lack. */
  load(resolution: Resolution, points: readonly Bar[], newest: Value | null): void {
    this.#course.load(resolution, points);
    if (newest !== null) this.#course.follow(newest);
    this.#loaded = true;
    this.#draw();
  }

  /** Take a live value; what it did to the bars. Before there is history it does nothing. */
  follow(value: Value): Change {
    if (!this.#loaded) return "older";
    const countBefore = this.#course.bars.length;
    const change = this.#course.follow(value);
    if (change === "older" || change === "behind") return change;
    if (countBefore === 0) this.#draw();
    else {
      this.#plot.extend(this.#course.bars, countBefore - 1);
      this.#showWords();
    }
    return change;
  }

  /** Why there is no history; what is shown already stays. */
  showProblem(text: string): void {
    if (!this.#loaded) this.#showState(text);
  }

  showFigures(figures: readonly Figure[]): void {
    setOptionalText(this.#figuresState, "");
    reconcile(this.#figures, figures, ({ key }) => key, newFigure, fillFigure);
  }

  /** Why there are no figures; what is shown already stays. */
  showFiguresProblem(text: string): void {
    if (this.#figures.children.length === 0) setOptionalText(this.#figuresState, text);
  }

  /** As before the first answer. */
  clear(): void {
    this.#loaded = false;
    this.#hovered = null;
    this.#course.load("1m", []);
    this.#figures.replaceChildren();
    setOptionalText(this.#figuresState, "");
    this.#draw();
    this.#showState("Loading history");
  }

  /** The colours of the page have changed. */
  recolour(): void {
    this.#plot.recolour();
  }

  #draw(): void {
    const { bars, resolution } = this.#course;
    this.#hovered = null;
    this.#plot.draw(bars, resolution, this.#styles.value);
    this.#plotElement.toggleAttribute("data-empty", bars.length === 0);
    this.#showState(bars.length === 0 ? "No history yet. The first point comes with the next valuation." : "");
    this.#showWords();
  }

  #showWords(): void {
    const { bars, resolution } = this.#course;
    this.#card.dataset["points"] = String(bars.length);
    this.#card.dataset["resolution"] = resolution;
    this.#card.dataset["last"] = String(bars.at(-1)?.last ?? "");
    setText(this.#words, sentenceOf(bars, this.range));
    this.#showLegend();
  }

  #showLegend(): void {
    const legend = legendOf(this.#course.bars, this.#course.resolution, this.#hovered);
    const parts =
      legend === null
        ? []
        : [
            create("strong", legend.value),
            ` ${legend.change} `,
            create("span", "in this range "),
            create("time", legend.time),
          ];
    this.#legend.replaceChildren(...parts);
  }

  #showState(text: string): void {
    setText(this.#stateText, text);
    this.#state.hidden = text === "";
  }
}

function newFigure(): HTMLElement {
  const figure = create("div");
  const value = create("dd");
  value.append(create("span"), create("small"));
  figure.append(create("dt"), value);
  return figure;
}

function fillFigure(element: HTMLElement, figure: Figure): void {
  const [label, value] = element.children;
  const [text, note] = value?.children ?? [];
  if (!(label && text instanceof HTMLElement && note)) return;
  setText(label, figure.label);
  setText(text, figure.text);
  text.dataset["direction"] = figure.direction;
  setText(note, figure.note);
}
