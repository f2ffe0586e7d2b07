import { useSyncExternalStore } from "react";

const root = (): HTMLElement => document.documentElement;

function watch(changed: () => void): () => void {
  const observer = new MutationObserver(changed);
  observer.observe(root(), { attributeFilter: ["class"] });
  return () => observer.disconnect();
}

/** Whether the host shows its dark theme: it says so by a class of the page's root. */
export const useDark = (): boolean => useSyncExternalStore(watch, () => root().classList.contains("dark"));

/** Whether the person is at a tab of a tab list: then the focus stays there, so that arrow keys go on to the next tab. */
export const choosingTab = (): boolean => document.activeElement?.getAttribute("role") === "tab";
