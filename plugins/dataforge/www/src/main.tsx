import { ChakraProvider, type SystemContext } from "@chakra-ui/react";
import { useEffect, useState } from "react";
import { useLocation, useNavigate } from "react-router-dom";
import { DagTab, Pages } from "./routes";

/** What Airflow gives: the ids of the page that the plugin stands on. */
export interface HostProps {
  dagId?: string;
}

declare global {
  // Airflow's theme; it is there before any plugin is.
  var ChakraUISystem: SystemContext;
}

const REMOUNT_MS = 100;
let settled = false;

/** What Airflow shows: all pages below its navigation, or the page of one pipeline as a tab of its DAG. */
export default function DataForge({ dagId }: HostProps) {
  const ready = useSettled();
  return (
    <ChakraProvider value={globalThis.ChakraUISystem}>
      {ready && (dagId ? <DagTab dagId={dagId} /> : <Pages />)}
    </ChakraProvider>
  );
}

/**
 * Airflow mounts what it has just loaded once more at the first navigation, be it `?tab=`, and all state is lost. So the
 * first mount shows nothing and navigates to where it is; where nothing is mounted anew, it shows the page after all.
 */
function useSettled(): boolean {
  const [ready, setReady] = useState(settled);
  const navigate = useNavigate();
  const here = useLocation();
  useEffect(() => {
    if (ready) return;
    if (!settled) void navigate(here, { replace: true, state: here.state });
    settled = true;
    const timer = setTimeout(() => setReady(true), REMOUNT_MS);
    return () => clearTimeout(timer);
  }, [ready, here, navigate]);
  return ready;
}
