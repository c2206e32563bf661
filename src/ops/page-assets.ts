/** Style of the status page: both colour schemes, and cards instead of columns on a phone. */
export const pageStyle = `
:root {
  --ground: #f6f7f9; --sheet: #ffffff; --ink: #17202b; --soft: #5d6b7c; --line: #dfe4ea;
  --good: #12733c; --good-ground: #ddf3e4; --busy: #8a5a00; --busy-ground: #fdeecb;
  --bad: #a8201a; --bad-ground: #fbe1df; --off: #5d6b7c; --off-ground: #e8ebef;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #10151b; --sheet: #182029; --ink: #e4e9ef; --soft: #93a1b1; --line: #2a3541;
    --good: #7fd9a0; --good-ground: #14351f; --busy: #f2c25c; --busy-ground: #3b2d0c;
    --bad: #ff9d96; --bad-ground: #43191a; --off: #93a1b1; --off-ground: #26303b;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem; max-width: 76rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums;
}
h1 { margin: 0; font-size: 1.6rem; }
h2 { margin: 2rem 0 .5rem; font-size: 1rem; color: var(--soft); }
header p, footer, small, .none { color: var(--soft); }
header p { margin: .25rem 0 1rem; overflow-wrap: anywhere; }
footer { margin-top: 2rem; font-size: .85rem; }
a { color: inherit; }
small { display: block; overflow-wrap: anywhere; }
.verdict { margin: 0 0 .5rem; padding: .6rem 1rem; border-radius: .5rem; list-style: none; overflow-wrap: anywhere; }
details { margin-top: .5rem; }
summary { padding: .3rem .8rem; color: var(--soft); cursor: pointer; }
small.busy { color: var(--busy); background: none; }
#stale { margin: 0 0 1rem; padding: .6rem 1rem; border-radius: .5rem; color: var(--busy); background: var(--busy-ground); }
table { width: 100%; border-collapse: collapse; background: var(--sheet); border-radius: .5rem; overflow: hidden; }
th, td { padding: .5rem .8rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-size: .8rem; font-weight: 600; color: var(--soft); }
tbody tr:last-child td { border-bottom: 0; }
.state { display: inline-block; padding: 0 .55rem; border-radius: 1rem; font-size: .85rem; }
.good { color: var(--good); background: var(--good-ground); }
.busy { color: var(--busy); background: var(--busy-ground); }
.bad { color: var(--bad); background: var(--bad-ground); }
.off { color: var(--off); background: var(--off-ground); }
@media (max-width: 44rem) {
  body { padding: 1rem; }
  thead { display: none; }
  tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  td { display: grid; grid-template-columns: 6.5rem 1fr; gap: .5rem; padding: .15rem .8rem; border: 0; }
  td::before { content: attr(data-label); color: var(--soft); }
  td > small { grid-column: 2; }
}
`;

/** Fetches the page again every two seconds; says so when the daemon does not answer, instead of showing old numbers as new. */
export const pageScript = `
const stale = document.getElementById('stale');
let answeredAt = new Date();
async function refresh() {
  try {
    const response = await fetch(location.pathname, { cache: 'no-store', signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error('HTTP ' + response.status);
    const fresh = new DOMParser().parseFromString(await response.text(), 'text/html').querySelector('main');
    for (const { id } of document.querySelectorAll('details[open]')) {
      const same = fresh.querySelector('#' + id);
      if (same !== null) same.open = true;
    }
    document.querySelector('main').replaceChildren(...fresh.childNodes);
    answeredAt = new Date();
    stale.hidden = true;
  } catch (error) {
    stale.textContent = 'The daemon does not answer. What is shown is from ' + answeredAt.toLocaleTimeString() + '.';
    stale.hidden = false;
  }
  setTimeout(refresh, 2000);
}
setTimeout(refresh, 2000);
`;
