// How the inbox looks, with toasts and preferences. What is there before them is in style.js, which says what holds for both.

export default `
/* Severities */
[data-severity="info"] { --plain-ink: light-dark(#24528f, #9cc2f7); --plain-ground: light-dark(#e4edf8, #1d2f47); }
[data-severity="success"] { --plain-ink: light-dark(#1c6a43, #82d3a8); --plain-ground: light-dark(#e0f1e7, #17352a); }
[data-severity="warning"] { --plain-ink: light-dark(#835200, #f0c067); --plain-ground: light-dark(#faedd0, #3a2e16); }
[data-severity="error"] { --plain-ink: light-dark(#a8302a, #f5a097); --plain-ground: light-dark(#fae5e2, #43221f); }

/* Head */
.inbox { --news: light-dark(#fdf1d3, #39311d); --brass: light-dark(#c98e22, #f2bd4e); position: relative; container-type: inline-size; }
.head { display: flex; flex-wrap: wrap; align-items: center; gap: .25rem .75rem; min-height: 2.25rem; }
.name { font-size: 1.125rem; font-weight: 650; letter-spacing: -.01em; }
.count { color: var(--muted); font-size: .875rem; font-variant-numeric: tabular-nums; }
.count:empty { display: none; }
.status {
  display: inline-flex; align-items: center; gap: .5rem; padding: .125rem .625rem; color: var(--plain-ink); background: var(--plain-ground);
  border: 1px solid transparent; border-radius: 99px; font-size: .8125rem; white-space: nowrap;
}
.status::before { width: .5rem; height: .5rem; background: currentcolor; border-radius: 50%; content: ""; forced-color-adjust: none; }
.status[data-state="live"] { color: light-dark(#1c6a43, #82d3a8); background: light-dark(#e0f1e7, #17352a); }
.status[data-state="reconnecting"], .status[data-state="unauthenticated"] { color: light-dark(#835200, #f0c067); background: light-dark(#faedd0, #3a2e16); }
.quiet {
  margin-inline: auto -.5rem; min-height: 2rem; padding: .25rem .5rem; color: var(--accent); background: none; border: 0; border-radius: .5rem; font-size: .875rem;
  text-decoration: none;
}
.head > form { margin-inline-start: auto; }
.quiet:hover { background: var(--hover); }
.tool.shut { display: none; }

/* Tabs and filters */
.bar { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: .5rem 1rem; margin-top: .5rem; border-bottom: 1px solid var(--line); }
.tabs { display: flex; gap: 1.25rem; }
.tab {
  display: inline-flex; align-items: center; gap: .375rem; min-height: 2.5rem; margin-bottom: -1px; padding: .375rem 0; color: var(--muted); background: none; border: 0; border-bottom: 2px solid transparent;
  font-size: .9375rem; white-space: nowrap; text-decoration: none;
}
.tab:hover { color: var(--ink); }
.tab[aria-selected="true"], .tab[aria-current] { color: var(--ink); border-bottom-color: var(--accent); font-weight: 600; }
.tab-count { padding: .0625rem .4375rem; color: var(--plain-ink); background: var(--plain-ground); border-radius: 99px; font-size: .75rem; font-weight: 500; font-variant-numeric: tabular-nums; }
.tab-count:empty { display: none; }
.filters { display: flex; flex: 0 1 auto; gap: .5rem; min-width: 0; padding-block: .25rem; }
.category, .search { min-width: 0; min-height: 2rem; padding: .125rem .625rem; color: var(--ink); background: var(--sheet); border: 1px solid light-dark(#8b8f98, #6b7280); border-radius: .5rem; font-size: .875rem; }
.is-blank { visibility: hidden; }
.search { width: 9.5rem; }
.category { max-width: 11rem; }

/* Days and rows */
.day > h3 { margin: 1.25rem 0 .5rem; color: var(--muted); font-size: .8125rem; font-weight: 600; }
.day > h3::first-letter { text-transform: uppercase; }
.rows { overflow: hidden; background: var(--sheet); border: 1px solid var(--line); border-radius: var(--radius); box-shadow: var(--shade); }
.notice { position: relative; display: grid; grid-template-columns: auto minmax(0, 1fr) auto; column-gap: .875rem; padding: 1rem 1.125rem; }
.notice + .notice { border-top: 1px solid var(--line); }
.notice:hover { background: var(--hover); }
.notice:focus-visible { outline-offset: -3px; border-radius: var(--radius); }
.notice-mark { position: relative; width: 2.5rem; height: 2.5rem; margin-top: .25rem; color: var(--plain-ink); background: var(--plain-ground); border-radius: 50%; }
.notice-mark svg { display: block; width: 100%; height: 100%; }
.notice-mark img { position: absolute; inset: 0; width: 100%; height: 100%; border-radius: 50%; object-fit: cover; }
.notice-unread { position: absolute; inset-block-start: 2.5rem; inset-inline-start: .375rem; }
.dot { display: block; width: .4375rem; height: .4375rem; margin-top: -.21875rem; background: var(--accent); border-radius: 50%; forced-color-adjust: none; }
.notice-title, .notice-message { overflow-wrap: anywhere; white-space: pre-wrap; }
.notice-title:has(a:empty) { display: none; }
.notice-title, .notice-title:has(a:empty) + .notice-message { font-weight: 450; }
.is-unread .notice-title, .is-unread .notice-title:has(a:empty) + .notice-message { font-weight: 650; }
.notice-title:not(:has(a:empty)) + .notice-message { color: var(--muted); }
.notice:has(.notice-title a:empty) { align-items: center; }
.notice:has(.notice-title a:empty) .notice-mark { margin-top: 0; }
.notice:has(.notice-title a:empty) .notice-unread { inset-block-start: 50%; }
.notice-words a[href], .toast a[href] { color: var(--accent); text-decoration: none; }
.notice-words a[href]:hover, .toast a[href]:hover { text-decoration: underline; text-underline-offset: .2em; }
/* A link is told by more than its colour. */
.notice-words > p > a[href]:not(.choice)::after { margin-inline-start: .375em; content: "↗" / ""; font-weight: 400; }
.notice-actions { display: flex; flex-wrap: wrap; gap: .5rem; padding-top: .625rem; }
.notice-actions:empty { display: none; }
.choice[data-style="primary"] { color: var(--on-accent); background: var(--accent); border-color: var(--accent); }
.choice[data-style="danger"] { color: light-dark(#a8302a, #f5a097); border-color: currentcolor; }
.notice .notice-words a.choice[href] { color: var(--ink); }
.notice .notice-words a.choice[data-style="primary"][href] { color: var(--on-accent); }
.notice .notice-words a.choice[data-style="danger"][href] { color: light-dark(#a8302a, #f5a097); }
.notice-time { color: var(--muted); font-size: .875rem; line-height: 1.5rem; font-variant-numeric: tabular-nums; white-space: nowrap; text-align: end; }
.notice-tools { position: absolute; inset-block-start: .625rem; inset-inline-end: .75rem; display: flex; gap: .125rem; padding: 2px; background: var(--sheet); border: 1px solid var(--line); border-radius: .625rem; opacity: 0; }
.notice:hover .notice-tools, .notice:focus-within .notice-tools, .notice-tools:has([aria-expanded="true"]) { opacity: 1; }
.tool { display: inline-grid; width: 2rem; height: 2rem; padding: 0; place-items: center; color: var(--muted); background: none; border: 0; border-radius: .5rem; }
.tool:hover { color: var(--ink); background: var(--hover); }
.tool svg { width: 2rem; height: 2rem; stroke-width: 2; }
@media (hover: none) {
  .notice-tools { position: static; grid-column: 2 / -1; justify-self: end; background: none; border: 0; opacity: 1; }
  .tool, .tool svg { width: 2.75rem; height: 2.75rem; }
}
@container (max-width: 34rem) {
  .notice { grid-template-columns: auto minmax(0, 1fr); padding: .875rem 1rem; }
  .notice .notice-time { grid-area: 2 / 2; align-self: center; padding-top: .125rem; text-align: start; }
  .notice-tools { grid-row: 2; inset-block: auto .375rem; }
  .notice:has(.notice-title a:empty) .notice-unread { inset-block-start: calc(50% - 1rem); }
  .filters { flex: 1 1 100%; }
  .search, .category { flex: 1 1 0; width: auto; max-width: none; }
}
@media (prefers-reduced-motion: no-preference) {
  .notice-new { animation: arrive 3s ease-out; }
  .notice-tools { transition: opacity .1s; }
  .toast { animation: rise .2s ease-out; }
}
@keyframes arrive { from, 50% { background: var(--news); box-shadow: inset 3px 0 var(--brass); } }
@keyframes rise { from { opacity: 0; translate: 0 .5rem; } }

/* What stands around the list */
.edge { display: block; height: 1px; margin-bottom: -1px; }
.pill { position: sticky; z-index: 2; top: .75rem; display: block; min-height: 2.25rem; margin: .5rem auto -2.75rem; padding: .25rem 1rem; color: var(--on-accent); background: var(--accent); border: 0; border-radius: 99px; box-shadow: var(--shade); font-size: .875rem; font-weight: 600; }
.foot { display: grid; place-items: center; padding: 1.25rem 0 .5rem; }
.end { color: var(--muted); font-size: .875rem; }
.empty-picture { width: 11rem; max-width: 70%; margin-bottom: 1.25rem; stroke: none; }
.empty-sun { fill: var(--news); }
.empty-stand { fill: none; stroke: color-mix(in srgb, var(--muted) 55%, var(--sheet)); stroke-width: 3.5; }
.empty-flag { fill: light-dark(#d9583b, #c8563d); }
.empty-horn { fill: light-dark(#eeb545, #e3ad44); }
.empty-gleam { fill: light-dark(#ffe3a3, #f7d488); }
.empty-bell { fill: light-dark(#c98e22, #a87620); }
.note { position: sticky; z-index: 3; bottom: .75rem; display: flex; align-items: center; gap: .25rem .75rem; width: fit-content; max-width: 100%; margin: .75rem auto 0; padding: .25rem .375rem .25rem 1rem; color: light-dark(#f6f4ef, #14171c); background: light-dark(#20242b, #e9e7e1); border-radius: .75rem; box-shadow: var(--shade); font-size: .9375rem; }
.note-text { min-width: 0; overflow-wrap: anywhere; }
.note-act, .note .tool { flex: none; }
.note-act { min-height: 2rem; padding: .125rem .5rem; color: light-dark(#ffd27a, #27487c); background: none; border: 0; border-radius: .5rem; font-weight: 600; }
.note .tool, .note .tool:hover { color: inherit; }
.menu { position: fixed; inset: auto; margin: 0; min-width: 12rem; max-width: 20rem; padding: .375rem; color: var(--ink); background: var(--sheet); border: 1px solid var(--line); border-radius: .75rem; box-shadow: var(--shade); }
.menu button { display: block; width: 100%; min-height: 2.25rem; padding: .25rem .75rem; overflow-wrap: anywhere; text-align: start; background: none; border: 0; border-radius: .5rem; font-size: .9375rem; }
.menu button:hover, .menu button:focus-visible { background: var(--hover); }
.shortcuts { max-width: 26rem; width: calc(100% - 2rem); padding: 1.5rem; color: var(--ink); background: var(--sheet); border: 1px solid var(--line); border-radius: var(--radius); box-shadow: var(--shade); }
.shortcuts::backdrop { background: rgb(0 0 0 / .4); }
.shortcuts h3 { margin-bottom: .75rem; font-size: 1.125rem; }
.shortcuts div { display: flex; justify-content: space-between; gap: 1rem; padding-block: .375rem; border-top: 1px solid var(--line); }
.shortcuts form { margin-top: 1rem; text-align: end; }
kbd { margin-inline-start: .25rem; padding: .125rem .4375rem; background: var(--plain-ground); border-radius: .375rem; font: inherit; font-size: .8125rem; white-space: nowrap; }

/* In the panel of the bell */
:host([panel]) .inbox { display: flex; flex-direction: column; max-height: min(var(--pregon-max-height, 38rem), var(--room, 100vh) - 1rem); }
:host([panel]) .head, :host([panel]) .bar { padding-inline: 1rem; }
:host([panel]) .filters, :host([panel]) .count, :host([panel]) .status[data-state="live"] { display: none; }
:host([panel]) .scroll { flex: 1; min-height: 12rem; overflow: auto; overscroll-behavior: contain; }
:host([panel]) .rows { background: none; border: 0; border-radius: 0; box-shadow: none; }
:host([panel]) .day > h3 { margin: 0; padding: .75rem 1rem .25rem; }
:host([panel]) .foot { padding-bottom: 1rem; }
:host([panel]) .note { position: absolute; inset-inline: .75rem; bottom: .75rem; margin-inline: auto; }
@media (max-width: 480px) {
  :host([panel]) .inbox { height: calc(100dvh - .75rem); max-height: none; }
  :host([panel]) .tool.shut { display: inline-grid; order: 1; margin-inline: auto -.625rem; }
  :host([panel]) .quiet { order: 2; margin-inline: -.5rem auto; }
}

/* Toasts */
.toasts { position: fixed; inset: auto 1rem 1rem auto; z-index: var(--pregon-z, auto); display: grid; gap: .5rem; width: min(24rem, 100vw - 2rem); margin: 0; padding: 0; overflow: visible; background: none; border: 0; }
.toasts:not(:popover-open) { display: none; }
.toasts:dir(rtl) { inset: auto auto 1rem 1rem; }
.toast { display: grid; grid-template-columns: auto 1fr auto; align-items: start; gap: .75rem; padding: .75rem; color: var(--ink); background: var(--sheet); border: 1px solid var(--line); border-radius: var(--radius); box-shadow: var(--shade); }
.toast-mark { width: 2.25rem; height: 2.25rem; color: var(--plain-ink); background: var(--plain-ground); border-radius: 50%; }
.toast p { display: -webkit-box; overflow: hidden; overflow-wrap: anywhere; white-space: pre-wrap; -webkit-box-orient: vertical; -webkit-line-clamp: 3; }
.toast-title { font-weight: 650; }
.toast-title:not(:empty) + .toast-message { color: var(--muted); }
.toast-title:empty { display: none !important; }

/* Preferences */
.preferences { margin: 0; padding: 0; border: 0; }
.preferences legend { padding: 0; font-size: 1.125rem; font-weight: 650; }
.preferences p { margin-bottom: .75rem; color: var(--muted); font-size: .9375rem; }
.switch { display: flex; align-items: center; justify-content: space-between; gap: 1rem; min-height: 2.75rem; padding-block: .25rem; border-top: 1px solid var(--line); overflow-wrap: anywhere; cursor: pointer; }
.switch input { position: relative; flex: none; width: 2.5rem; height: 1.5rem; margin: 0; background: light-dark(#757a84, #6b7280); border-radius: 99px; appearance: none; cursor: pointer; }
.switch input::before { position: absolute; inset-block-start: .1875rem; inset-inline-start: .1875rem; width: 1.125rem; height: 1.125rem; background: #fff; border-radius: 50%; content: ""; }
.switch input:checked { background: light-dark(#1c6a43, #2f9463); }
.switch input:checked::before { inset-inline-start: 1.1875rem; }

@media (forced-colors: active) {
  .dot, .tab[aria-selected="true"] { color: HighlightText; background: Highlight; forced-color-adjust: none; }
  .status, .pill, .note, .tab-count, .switch input { border: 1px solid ButtonText; }
  .switch input:checked { background: Highlight; }
  .switch input::before { background: ButtonText; }
}
`;
