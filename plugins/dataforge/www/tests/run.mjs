// Runs tests/**/*.test.ts with Node's own test runner; esbuild, which Vite brings along, takes the types out.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

const named = process.argv.slice(2);
const all = readdirSync("tests", { recursive: true, encoding: "utf8" }).map((name) => join("tests", name));
const files = named.length ? named : all.filter((name) => /\.test\.tsx?$/.test(name));
const folder = mkdtempSync(join(tmpdir(), "page-tests-"));
try {
  await build({
    entryPoints: files,
    outdir: folder,
    bundle: true,
    platform: "node",
    format: "esm",
    outExtension: { ".js": ".mjs" },
  });
  const built = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".mjs"));
  const done = spawnSync(process.execPath, ["--test", ...built.map((name) => join(folder, name))], {
    stdio: "inherit",
  });
  process.exitCode = done.status ?? 1;
} finally {
  rmSync(folder, { recursive: true });
}
