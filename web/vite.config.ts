import { defineConfig } from "vite";

// The page runs under `default-src 'self'`: nothing may become inline or a `data:` address.
export default defineConfig({
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    chunkSizeWarningLimit: 250,
  },
  worker: { format: "es" },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: {
    host: "127.0.0.1",
    proxy: { "/api": process.env.OPERON_URL ?? "http://127.0.0.1:4401" },
  },
});
