/** How the dashboard is built: into the bridge's package, which serves it. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { defineConfig, type Plugin } from "vite";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Fonts come in through a style sheet, which the bundler's own list of licenses does not see. */
const fontLicense: Plugin = {
  name: "font-license",
  generateBundle() {
    const source = readFileSync(here("node_modules/@fontsource-variable/inter/LICENSE"));
    this.emitFile({ type: "asset", fileName: "license-of-inter.txt", source });
  },
};

export default defineConfig({
  root: here("dashboard"),
  plugins: [fontLicense],
  build: {
    outDir: here("../../evs_server/bridge/static"),
    emptyOutDir: true,
    // The page's policy lets it load files of its own server alone: nothing inline, no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    cssTarget: ["chrome123", "firefox128", "safari17.5"],
    // What is bundled is named, with its terms, beside the page.
    license: { fileName: "licenses.txt" },
    chunkSizeWarningLimit: 400,
  },
});
