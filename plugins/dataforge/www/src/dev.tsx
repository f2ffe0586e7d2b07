import { createSystem, defaultConfig } from "@chakra-ui/react";
import { createRoot } from "react-dom/client";
import { BrowserRouter, Navigate, Route, Routes, useParams } from "react-router-dom";
import DataForge from "./main";

// Stands in for Airflow's shell while one works on the pages: its theme, its routes, and `?theme=dark`.
const shades = ["50", "100", "200", "300", "400", "500", "600", "700", "800", "900", "950"] as const;
const brand = Object.fromEntries(shades.map((shade) => [shade, { value: `{colors.blue.${shade}}` }]));
const meanings = ["solid", "contrast", "fg", "muted", "subtle", "emphasized", "focusRing", "border"] as const;
const system = createSystem(defaultConfig, {
  theme: {
    tokens: { colors: { brand } },
    semanticTokens: {
      colors: { brand: Object.fromEntries(meanings.map((name) => [name, { value: `{colors.blue.${name}}` }])) },
    },
  },
});
globalThis.ChakraUISystem = system;
document.documentElement.classList.add(new URLSearchParams(location.search).get("theme") === "dark" ? "dark" : "light");

function Tab() {
  return <DataForge dagId={useParams().dagId} />;
}

createRoot(document.getElementById("root") as HTMLElement).render(
  <BrowserRouter>
    <Routes>
      <Route path="/plugin/pipelines/*" element={<DataForge />} />
      <Route path="/" element={<Navigate replace to="/plugin/pipelines" />} />
      <Route path="/dags/:dagId/plugin/pipeline/*" element={<Tab />} />
    </Routes>
  </BrowserRouter>,
);
