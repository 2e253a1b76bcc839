"""Style of the report's first page: light and dark as the reader's system is, from 320 pixels up, no fonts fetched."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: light-dark(#fafaf8, #16181c); --card: light-dark(#ffffff, #1f2228); --line: light-dark(#dddcd6, #363a43);
  --ink: light-dark(#1b1d21, #e7e8ea); --soft: light-dark(#5c6068, #a4a9b3); --link: light-dark(#0b5394, #8ab4f8);
  --yes: light-dark(#00694a, #6fd6b0); --partly: light-dark(#8a5300, #f2c063);
  --no: light-dark(#b3261e, #ff9d90); --open: light-dark(#5c6068, #a4a9b3);
}
* { box-sizing: border-box; }
body { font: 1rem/1.55 system-ui, sans-serif; margin: 0; background: var(--ground); color: var(--ink); }
main { max-width: 72rem; margin: 0 auto; padding: 2.2rem 1.25rem 3rem; }
header { max-width: 46rem; }
h1 { font-size: clamp(1.6rem, 4.5vw, 2.2rem); line-height: 1.15; letter-spacing: -.01em; margin: 0 0 .7rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .8rem; }
h3 { font-size: 1.1rem; line-height: 1.3; margin: 0 0 .35rem; }
p { margin: .4rem 0; overflow-wrap: anywhere; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
small { color: var(--soft); font-size: .8125rem; }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line); }
th, td { text-align: left; vertical-align: top; padding: .6rem .75rem; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-size: .8125rem; font-weight: 600; }
tbody th { white-space: nowrap; }
td:nth-child(2) { width: 24%; }
td[data-label] { font-size: .9375rem; font-variant-numeric: tabular-nums; }
.verdict span { display: block; font-weight: 650; }
.verdict small { color: var(--ink); }
.verdict span::before { content: ""; display: inline-block; width: .6em; height: .6em; margin-right: .45em;
  border-radius: 50%; border: 2px solid currentColor; }
.verdict .yes { color: var(--yes); } .verdict .yes::before { background: currentColor; }
.verdict .partly { color: var(--partly); }
.verdict .partly::before { background: linear-gradient(90deg, currentColor 50%, transparent 50%); }
.verdict .no { color: var(--no); } .verdict .no::before { border-radius: 0; background: currentColor; }
.verdict .open { color: var(--open); font-weight: 400; }
ol { list-style: none; padding: 0; margin: 0; display: grid; gap: 1.1rem; }
@media (min-width: 54rem) { ol { grid-template-columns: 1fr 1fr; } }
li { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; overflow: hidden;
  display: flex; flex-direction: column; min-width: 0; }
li.bad { border-color: var(--no); border-left-width: .4rem; }
strong.bad { color: var(--no); }
.figure { background: #fff; padding: .6rem; border-bottom: 1px solid var(--line); }
.figure img { display: block; width: 100%; aspect-ratio: 15 / 8; object-fit: contain; }
.text { padding: .9rem 1rem 1rem; flex: 1; display: flex; flex-direction: column; }
.question p { color: var(--soft); font-style: italic; }
.finding p { margin-bottom: .7rem; }
.text small { margin-top: auto; padding-top: .4rem; }
footer { margin-top: 2rem; border-top: 1px solid var(--line); padding-top: 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0; color: var(--soft);
  font-size: .875rem; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 44rem) {
  main { padding: 1.4rem .9rem 2rem; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody, tr, td, tbody th { display: block; }
  tr { border-top: 1px solid var(--line); padding: .7rem .85rem; }
  tbody tr:first-child { border-top: 0; }
  tbody th { float: left; margin-right: .6rem; }
  th, td { border: 0; padding: .1rem 0; }
  td:nth-child(n) { width: auto; }
  td:nth-child(2) { font-weight: 600; margin-bottom: .2rem; overflow: hidden; }
  td[data-label]:empty { display: none; }
  td[data-label]::before { content: attr(data-label) ": "; color: var(--soft); font-size: .8125rem; }
}
"""
