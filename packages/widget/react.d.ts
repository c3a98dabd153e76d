// What React 18 and 19 know of the elements in JSX: `import type {} from "@pregon/widget/react"`, once in the application.

import type { ClassAttributes, HTMLAttributes } from "react";
import type { PregonBell, PregonInbox, PregonPreferences, PregonToasts } from "./elements.js";

interface Common {
  server?: string;
  user?: string;
  token?: string;
  "token-url"?: string;
  locale?: string;
  theme?: "light" | "dark";
}

interface Listed extends Common {
  tabs?: string;
  "page-size"?: number | string;
}

interface Bell extends Listed {
  badge?: "unread" | "unseen" | "dot" | "none";
  "open-on"?: "hover";
  placement?: "bottom-end" | "bottom-start" | "top-end" | "top-start";
  toasts?: boolean | string;
  sound?: boolean | string;
  desktop?: boolean | string;
}

type Props<T, A> = ClassAttributes<T> & HTMLAttributes<T> & A;

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "pregon-bell": Props<PregonBell, Bell>;
      "pregon-inbox": Props<PregonInbox, Listed & { tab?: string; "empty-text"?: string }>;
      "pregon-preferences": Props<PregonPreferences, Common & { categories?: string }>;
      "pregon-toasts": Props<PregonToasts, Common>;
    }
  }
}
