import { Box, Tabs } from "@chakra-ui/react";
import { type ReactNode, useEffect, useRef } from "react";
import { useSearchParams } from "react-router-dom";

export interface Tab {
  name: string;
  title: string;
  content: () => ReactNode;
}

/** Tabs whose choice stands in the address as `?tab=`: it can be sent to others, and Back goes to the one before. */
export function UrlTabs({ tabs, label }: { tabs: Tab[]; label: string }) {
  const [query, setQuery] = useSearchParams();
  const chosen = tabs.find((one) => one.name === query.get("tab")) ?? tabs[0];
  const choose = (name: string) =>
    setQuery((old) => {
      const next = new URLSearchParams(old);
      next.set("tab", name);
      return next;
    });
  const bar = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const tab = bar.current?.querySelector<HTMLElement>("[aria-selected=true]");
    if (bar.current && tab) bar.current.scrollLeft = tab.offsetLeft - bar.current.clientWidth / 3;
  }, [chosen?.name]);
  return (
    <Tabs.Root lazyMount onValueChange={({ value }) => choose(value)} unmountOnExit value={chosen?.name ?? ""}>
      <Box overflowX="auto" ref={bar}>
        <Tabs.List aria-label={label} minW="max-content">
          {tabs.map((one) => (
            <Tabs.Trigger key={one.name} value={one.name}>
              {one.title}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
      </Box>
      {tabs.map((one) => (
        <Tabs.Content key={one.name} value={one.name}>
          {one.name === chosen?.name && one.content()}
        </Tabs.Content>
      ))}
    </Tabs.Root>
  );
}
