import { useQuery } from "../../api/use";
import { strings } from "../../strings";
import { Page } from "../../ui/Page";
import { Loaded } from "../../ui/states";
import { UrlTabs } from "../../ui/UrlTabs";
import { Approvals } from "./Approvals";
import { AuditLog } from "./AuditLog";
import { Connections } from "./Connections";
import { Limits } from "./Limits";
import { Providers } from "./Providers";
import { Usage } from "./Usage";
import type { Me } from "./shapes";

const words = strings.settings;

/** The models and what they cost, what one may do, what waits, and what was done. */
export function SettingsPage() {
  const me = useQuery<Me>("/me");
  return (
    <Page subtitle={words.subtitle} title={words.title}>
      <Loaded query={me}>
        {(asker) => (
          <UrlTabs
            label={words.title}
            tabs={[
              { name: "usage", title: words.tabs.usage, content: () => <Usage me={asker} /> },
              { name: "models", title: words.tabs.models, content: () => <Providers /> },
              { name: "limits", title: words.tabs.limits, content: () => <Limits me={asker} /> },
              { name: "connections", title: words.tabs.connections, content: () => <Connections me={asker} /> },
              { name: "approvals", title: words.tabs.approvals, content: () => <Approvals me={asker} /> },
              { name: "audit", title: words.tabs.audit, content: () => <AuditLog me={asker} /> },
            ]}
          />
        )}
      </Loaded>
    </Page>
  );
}
