"""How the page of a report looks: light and dark, narrow and wide, and on paper."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root {
  color-scheme: light;
  --paper: #f6f7f9; --card: #ffffff; --ink: #1b2430; --soft: #5b6675; --line: #dfe3e9; --zebra: #f8f9fb;
  --link: #175cb0; --note: #eef4fc; --good: #1f7a4d; --warn: #8a5a00; --bad: #b3261e;
  --head: #2e9e68; --old1: #eebd52; --old2: #dd9a2b; --old3: #bd7516; --old4: #8f520c;
  --ahead: #7d5fc9; --retired: #6d7683; --invalid: #d3453b; --none: #e4e8ed;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    color-scheme: dark;
    --paper: #10151c; --card: #181f29; --ink: #e4e9f0; --soft: #98a4b3; --line: #2b3542; --zebra: #1b232e;
    --link: #7db4ff; --note: #1a2a40; --good: #5cc98f; --warn: #eebd52; --bad: #ff8a80;
    --head: #36a870; --old1: #f0c566; --old2: #d99a36; --old3: #b37722; --old4: #8a5a1c;
    --ahead: #9a80e0; --retired: #7f8a99; --invalid: #e5635a; --none: #2b3542;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 64rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; }
h2 { margin: 0; font-size: 1.25rem; line-height: 1.3; }
h3 { margin: 1.75rem 0 .5rem; font-size: .95rem; }
p { margin: .5rem 0; }
a { color: var(--link); }
h1, h2, td, p, a { overflow-wrap: anywhere; }
.soft { color: var(--soft); }
p.soft { font-size: .9rem; }
.meta { margin: .25rem 0 1.5rem; color: var(--soft); font-size: .9rem; }
.card { margin: 0 0 1.25rem; padding: 1.25rem 1.5rem 1.5rem; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
.title { display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: baseline; }
.badge { padding: .05rem .6rem; border: 1px solid currentcolor; border-radius: 1rem; font-size: .8rem; font-weight: 600; white-space: nowrap; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.share { margin: .75rem 0 .5rem; }
.share strong { font-size: 1.9rem; line-height: 1.2; margin-right: .4rem; }
.bar { display: block; width: 100%; height: 1.6rem; border-radius: .35rem; background: var(--none); }
.small { height: .75rem; min-width: 6rem; margin-top: .3rem; border-radius: .2rem; }
.head { fill: var(--head); background: var(--head); } .ahead { fill: var(--ahead); background: var(--ahead); }
.old1 { fill: var(--old1); background: var(--old1); } .old2 { fill: var(--old2); background: var(--old2); }
.old3 { fill: var(--old3); background: var(--old3); } .old4 { fill: var(--old4); background: var(--old4); }
.retired { fill: var(--retired); background: var(--retired); } .invalid { fill: var(--invalid); background: var(--invalid); }
.swatch { display: inline-block; width: .7rem; height: .7rem; margin-right: .5rem; border-radius: .15rem; }
.note { margin: 1rem 0 0; padding: .6rem .9rem; background: var(--note); border-radius: .4rem; }
.note b { margin-right: .5rem; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
th { padding: .3rem .75rem .3rem 0; color: var(--soft); font-weight: 500; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
td { padding: .35rem .75rem .35rem 0; vertical-align: top; border-bottom: 1px solid var(--line); }
tr > :last-child { padding-right: 0; }
td.number + td.text, th.number + th.text { padding-left: 1rem; }
tbody tr:last-child td { border-bottom: 0; }
td.text { min-width: 8rem; }
.number { text-align: right; white-space: nowrap; }
.whole { white-space: nowrap; overflow-wrap: normal; }
.wide { width: 40%; }
.badge + .badge { margin-left: .4rem; }
.chart { display: grid; grid-template-columns: auto 1fr; gap: .4rem .6rem; margin-top: 1rem; font-size: .8rem; color: var(--soft); }
.scale { display: flex; flex-direction: column; justify-content: space-between; text-align: right; line-height: 1; height: 10em; margin: -.5em 0; }
.plot { display: block; width: 100%; height: 9em; overflow: visible; }
.dates { grid-column: 2; display: flex; justify-content: space-between; gap: 1rem; }
.grid { stroke: var(--line); stroke-width: 1; }
.area { fill: var(--head); opacity: .15; }
.curve, .point, .pace { fill: none; stroke: var(--head); stroke-width: 2; }
.point { stroke-width: 5; stroke-linecap: round; }
.pace { stroke-dasharray: 4 4; opacity: .8; }
details { margin-top: .75rem; font-size: .9rem; }
summary { cursor: pointer; color: var(--soft); }
footer { color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) {
  body { padding: 1.25rem .75rem 2rem; }
  .card { padding: 1rem; }
  table { font-size: .85rem; }
  td, th { padding-right: .5rem; }
  td.number + td.text, th.number + th.text { padding-left: .25rem; }
  td.text { min-width: 6rem; }
  .whole { white-space: normal; }
  .extra { display: none; }
}
@media print {
  body { max-width: none; padding: 0; background: none; font-size: 10pt; }
  .card { border: 0; padding: 0 0 1rem; }
  .bar, .swatch, .plot, .note { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h2, h3, tr, .chart, .note { break-inside: avoid; }
  h2, h3, .title, .meta, .share, .bar { break-after: avoid; }
  .scroll { overflow: visible; }
}
"""
