import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin, type UserConfig } from "vite";

// What Airflow's page offers as globals: the bundle uses the host's React, router and theme.
const globals = {
  react: "React",
  "react-dom": "ReactDOM",
  "react/jsx-runtime": "ReactJSXRuntime",
  "react-router-dom": "ReactRouterDOM",
  "@chakra-ui/react": "ChakraUI",
  "@emotion/react": "EmotionReact",
};

// `npm run dev` passes the API on to a running Airflow, as the user named here.
const airflow = process.env.AIRFLOW ?? "http://localhost:8080";
const user = { username: process.env.AIRFLOW_USER ?? "admin", password: process.env.AIRFLOW_PASSWORD ?? "admin" };

export default defineConfig(async ({ command }): Promise<UserConfig> => ({
  define: command === "build" ? { "process.env.NODE_ENV": '"production"' } : {},
  plugins: [recordSources(), pagesWithoutAirflow()],
  server: { open: false, proxy: command === "serve" ? await proxies() : {} },
  build: {
    target: "es2022",
    lib: { entry: "src/main.tsx", name: "AirflowPlugin", formats: ["umd"], fileName: () => "main.umd.cjs" },
    rollupOptions: { external: Object.keys(globals), output: { globals, exports: "default" } },
  },
}));

/** Pass the API on with a token: the dev server's page has no cookie of Airflow. */
async function proxies() {
  const answer = await fetch(`${airflow}/auth/token`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(user),
  });
  const { access_token: token } = (await answer.json()) as { access_token: string };
  const target = { target: airflow, changeOrigin: true, headers: { Authorization: `Bearer ${token}`, Origin: airflow } };
  return { "/dataforge": target, "/api": target };
}

/** Let `npm run dev` answer the addresses that Airflow's router gives us. */
function pagesWithoutAirflow(): Plugin {
  return {
    name: "pages-without-airflow",
    apply: "serve",
    configureServer: (server) => {
      server.middlewares.use((request, _, next) => {
        if (/^\/(\?|$|plugin\/|dags\/)/.test(request.url ?? "")) request.url = "/dev.html";
        next();
      });
    },
  };
}

/** Write down what the bundle was made of, so that a stale one is found also where there is no Node. */
function recordSources(): Plugin {
  let folder = "dist";
  const record = () => {
    const bundle = createHash("sha256").update(readFileSync(join(folder, "main.umd.cjs"))).digest("hex");
    writeFileSync(join(folder, "sha256.txt"), `${digestOfSources()}  sources\n${bundle}  main.umd.cjs\n`);
  };
  return {
    name: "record-sources",
    apply: "build",
    configResolved: (config) => {
      folder = config.build.outDir;
    },
    closeBundle: { order: "post", handler: (error) => (error ? undefined : record()) },
  };
}

// scripts/page.py computes the same. The API's description belongs to it: src/api/types.ts is made from that.
function digestOfSources(): string {
  const hash = createHash("sha256");
  const files = ["package-lock.json", "tsconfig.json", "vite.config.ts", ...below("public"), ...below("src")];
  for (const path of ["../../../docs/openapi.json", ...files]) {
    hash.update(`${path}\0`).update(readFileSync(path)).update("\0");
  }
  return hash.digest("hex");
}

function below(folder: string): string[] {
  const all = readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => join(folder, name));
  return all.filter((path) => statSync(path).isFile()).sort();
}
