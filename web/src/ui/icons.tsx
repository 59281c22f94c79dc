// Icons, drawn for 16 pixels. States differ in shape, so that they can be told apart without colour.
import type { JSX } from "preact";

const PATHS: Record<string, JSX.Element> = {
  check: <><circle cx="8" cy="8" r="6.25" /><path d="m5.2 8.2 2 2 3.6-4.2" /></>,
  cross: <><path d="M5.3 1.9h5.4l3.4 3.4v5.4l-3.4 3.4H5.3l-3.4-3.4V5.3z" /><path d="m5.8 5.8 4.4 4.4m0-4.4-4.4 4.4" /></>,
  warn: <><path d="M8 2 14.5 13.5h-13z" /><path d="M8 6.5v3.2m0 1.8v.2" /></>,
  run: <><circle cx="8" cy="8" r="6.25" opacity=".3" /><path d="M8 1.75A6.25 6.25 0 0 1 14.25 8" /><path d="M6.6 5.6v4.8L10.4 8z" fill="currentColor" /></>,
  pause: <><circle cx="8" cy="8" r="6.25" /><path d="M6.4 5.6v4.8m3.2-4.8v4.8" /></>,
  clock: <><circle cx="8" cy="8" r="6.25" /><path d="M8 4.6V8l2.2 1.6" /></>,
  dots: <><circle cx="8" cy="8" r="6.25" stroke-dasharray="2.2 2.2" /></>,
  launch: <><circle cx="8" cy="8" r="6.25" stroke-dasharray="2.2 2.2" /><path d="M8 10.8V5.4m-2.3 2L8 5.2l2.3 2.2" /></>,
  retry: <><path d="M13.5 8A5.5 5.5 0 1 1 11.6 3.8" /><path d="M12 1.5v2.6H9.4" /></>,
  stop: <><rect x="2" y="2" width="12" height="12" rx="2.5" /><rect x="5.6" y="5.6" width="4.8" height="4.8" fill="currentColor" /></>,
  slash: <><circle cx="8" cy="8" r="6.25" /><path d="m3.7 12.3 8.6-8.6" /></>,
  skip: <><circle cx="8" cy="8" r="6.25" /><path d="M5 8h6" /></>,
  search: <><circle cx="7" cy="7" r="4.5" /><path d="m10.5 10.5 3.5 3.5" /></>,
  sun: <><circle cx="8" cy="8" r="3" /><path d="M8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.1 1.1M11.9 11.9 13 13M3 13l1.1-1.1M11.9 4.1 13 3" /></>,
  moon: <path d="M13.5 9.6A6 6 0 0 1 6.4 2.5a6 6 0 1 0 7.1 7.1z" />,
  auto: <><circle cx="8" cy="8" r="6" /><path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor" /></>,
  keyboard: <><rect x="1.5" y="3.5" width="13" height="9" rx="1.5" /><path d="M4 6.5h.1M6.7 6.5h.1M9.3 6.5h.1M12 6.5h.1M5 9.7h6" /></>,
  right: <path d="m6 3.5 4.5 4.5L6 12.5" />,
  left: <path d="M10 3.5 5.5 8l4.5 4.5" />,
  down: <path d="M3.5 6 8 10.5 12.5 6" />,
  up: <path d="M3.5 10 8 5.5l4.5 4.5" />,
  copy: <><rect x="5.5" y="5.5" width="8" height="8" rx="1.5" /><path d="M10.5 3.5v-.3A1.2 1.2 0 0 0 9.3 2H3.7a1.2 1.2 0 0 0-1.2 1.2v5.6A1.2 1.2 0 0 0 3.7 10h.3" /></>,
  download: <><path d="M8 2v8.2M4.8 7.2 8 10.4l3.2-3.2" /><path d="M2.5 13.5h11" /></>,
  play: <path d="M4.5 2.8v10.4L13 8z" />,
  replay: <><path d="M2.5 8a5.5 5.5 0 1 0 1.9-4.2" /><path d="M4 1.5v2.6h2.6" /><path d="M6.9 6v4l3-2z" fill="currentColor" /></>,
  leave: <><path d="M6.5 2.5h-3a1 1 0 0 0-1 1v9a1 1 0 0 0 1 1h3" /><path d="M10 5l3 3-3 3M13 8H6" /></>,
  more: <path d="M3 8h.1M8 8h.1M13 8h.1" stroke-width="2.4" />,
  close: <path d="m4 4 8 8m0-8-8 8" />,
  file: <><path d="M9.5 1.8H4.2A1.2 1.2 0 0 0 3 3v10a1.2 1.2 0 0 0 1.2 1.2h7.6A1.2 1.2 0 0 0 13 13V5.3z" /><path d="M9.5 1.8v3.5H13" /></>,
  flow: <><rect x="1.5" y="6" width="4" height="4" rx="1" /><rect x="10.5" y="2" width="4" height="4" rx="1" /><rect x="10.5" y="10" width="4" height="4" rx="1" /><path d="M5.5 8h2.2V4h2.8M7.7 8v4h2.8" /></>,
  list: <path d="M2.5 4h11M2.5 8h11M2.5 12h7" />,
  chart: <path d="M2.5 13.5h11M4 11V7.5M8 11V3M12 11V5.5" />,
  bolt: <path d="M9 1.5 3.5 9H8l-1 5.5L12.5 7H8z" />,
  item: <><rect x="2" y="2" width="5" height="5" rx="1" /><rect x="9" y="2" width="5" height="5" rx="1" /><rect x="2" y="9" width="5" height="5" rx="1" /><rect x="9" y="9" width="5" height="5" rx="1" /></>,
  person: <><circle cx="8" cy="5" r="2.8" /><path d="M2.8 14a5.2 5.2 0 0 1 10.4 0" /></>,
  link: <><path d="M6.8 9.2a2.8 2.8 0 0 0 4 0l2-2a2.8 2.8 0 0 0-4-4l-.8.8" /><path d="M9.2 6.8a2.8 2.8 0 0 0-4 0l-2 2a2.8 2.8 0 0 0 4 4l.8-.8" /></>,
  fit: <path d="M2 5.5V2h3.5M10.5 2H14v3.5M14 10.5V14h-3.5M5.5 14H2v-3.5" />,
  plus: <path d="M8 3v10M3 8h10" />,
  minus: <path d="M3 8h10" />,
  end: <path d="M3.5 8h9M8 3v7.5M5 7.5l3 3 3-3" />,
};

export function Icon({ name, label, size = 16 }: { name: string; label?: string; size?: number }): JSX.Element {
  return (
    <svg class={`icon icon-${name}`} width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor"
      stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" role={label ? "img" : undefined}
      aria-label={label} aria-hidden={label ? undefined : "true"} focusable="false">
      {PATHS[name] ?? PATHS["dots"]}
    </svg>
  );
}
