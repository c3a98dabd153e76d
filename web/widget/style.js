// How the bell looks, and what stands in the place of the inbox until that is there; the rest is in panel-style.js. The
// server sends both, as one sheet, with what it renders itself: it takes what stands between the two marks below, in which
// there is therefore neither a backslash nor a placeholder.
//
// Each colour is written once, for light and for dark, and follows the page's colour scheme. Pairs of text and ground have
// a contrast of at least 4.5 to 1.

export default `
:host {
  --accent: var(--pregon-accent, light-dark(#27487c, #9dbcf0));
  --on-accent: var(--pregon-accent-fg, light-dark(#fff, #14171c));
  --sheet: var(--pregon-bg, light-dark(#fffefb, #1c2027));
  --ink: var(--pregon-fg, light-dark(#20242b, #e9e7e1));
  --muted: var(--pregon-muted, light-dark(#5d6470, #a3a9b4));
  --line: var(--pregon-line, light-dark(#e6e1d6, #2d333d));
  --badge: var(--pregon-badge, #c0342b);
  --radius: var(--pregon-radius, 1rem);
  --shade: var(--pregon-shadow, 0 1px 2px rgb(0 0 0 / .05), 0 12px 32px -12px rgb(0 0 0 / .25));
  --hover: color-mix(in srgb, var(--ink) 6%, transparent);
  --plain-ink: light-dark(#5a5f69, #b4b9c3);
  --plain-ground: light-dark(#efece4, #2a2f38);
  color: var(--ink);
  font: 400 var(--pregon-size, 1rem) / 1.5 var(--pregon-font, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif);
  text-align: start;
}
:host([theme="light"]) { color-scheme: light; }
:host([theme="dark"]) { color-scheme: dark; }
:host(pregon-bell) { display: inline-block; }
:host(pregon-inbox) { display: block; }
[hidden] { display: none !important; }
*, ::before, ::after { box-sizing: border-box; }
h2, h3, p, dl, dd { margin: 0; }
button, select, input { color: inherit; font: inherit; }
button { cursor: pointer; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
.visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
svg { fill: none; stroke: currentcolor; stroke-linecap: round; stroke-linejoin: round; stroke-width: 1.75; }

.bell { position: relative; width: 2.75rem; height: 2.75rem; padding: 0; color: inherit; background: none; border: 0; border-radius: 50%; }
.bell:hover { background: var(--hover); }
.bell-icon { display: block; width: 100%; height: 100%; }
.badge { position: absolute; inset-block-start: .125rem; inset-inline-end: 0; min-width: 1.25rem; height: 1.25rem; padding: 0 .3125rem; color: #fff; background: var(--badge); border-radius: 99px; font-size: .6875rem; font-weight: 700; line-height: 1.25rem; text-align: center; font-variant-numeric: tabular-nums; }
.badge-dot { inset-block-start: .5rem; inset-inline-end: .5rem; min-width: .625rem; width: .625rem; height: .625rem; padding: 0; }
.panel {
  position: fixed; inset: auto; z-index: var(--pregon-z, auto); width: min(var(--pregon-width, 26rem), 100vw - 1rem); margin: 0; padding: .75rem 0 0; overflow: hidden;
  color: var(--ink); background: var(--sheet); border: 1px solid var(--line); border-radius: var(--radius); box-shadow: var(--shade);
}
@media (max-width: 480px) {
  .panel { inset: 0 !important; width: 100vw; height: 100dvh; max-height: none; border: 0; border-radius: 0; }
}

.choice { display: inline-block; max-width: 100%; overflow-wrap: anywhere; min-height: 2rem; padding: .25rem .875rem; color: var(--ink); background: var(--sheet); border: 1px solid light-dark(#8b8f98, #6b7280); border-radius: .5rem; font-size: .875rem; line-height: 1.375rem; text-decoration: none; }
.choice:hover { background: color-mix(in srgb, var(--ink) 6%, var(--sheet)); }
.skeleton { visibility: hidden; animation: appear 0s .2s forwards; margin-top: 1.25rem; }
.skeleton p { display: grid; grid-template-columns: 2.5rem 1fr; gap: .5rem .875rem; padding: 1rem 1.125rem; background: var(--sheet); border: 1px solid var(--line); border-radius: var(--radius); margin-bottom: .5rem; }
.skeleton i, .skeleton b { background: var(--plain-ground); border-radius: .375rem; }
.skeleton i { grid-row: span 2; height: 2.5rem; border-radius: 50%; }
.skeleton b { height: .875rem; width: 55%; }
.skeleton b + b { width: 80%; }
:host([panel]) .skeleton { margin: 0; }
:host([panel]) .skeleton p { border-width: 0 0 1px; border-radius: 0; }
.failure, .empty { margin-top: 1.25rem; padding: 2.5rem 1.5rem; text-align: center; background: var(--sheet); border: 1px solid var(--line); border-radius: var(--radius); }
.failure h3, .empty h3 { margin-bottom: .375rem; font-size: 1.1875rem; font-weight: 600; }
.failure p, .empty p { color: var(--muted); text-wrap: balance; }
.failure .choice { margin-top: 1rem; }
:host([panel]) .empty, :host([panel]) .failure { margin: 0; border: 0; }
@media (prefers-reduced-motion: no-preference) {
  .skeleton p { animation: breathe 1.4s ease-in-out infinite alternate; }
}
@keyframes breathe { to { opacity: .5; } }
@keyframes appear { to { visibility: visible; } }

@media (forced-colors: active) {
  .badge { color: HighlightText; background: Highlight; forced-color-adjust: none; }
  .choice { border: 1px solid ButtonText; }
}
`;
