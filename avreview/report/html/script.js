"use strict";
/* The page is whole without this. It filters findings, and opens what is folded while the page is printed. */
(function () {
  var folded = [];

  function openForPrint() {
    folded = Array.from(document.querySelectorAll("details:not([open])"));
    folded.forEach(function (part) { part.open = true; });
  }

  function foldAgain() {
    folded.forEach(function (part) { part.open = false; });
    folded = [];
  }

  function ticked(form, name) {
    var boxes = Array.from(form.querySelectorAll('input[name="' + name + '"]'));
    return boxes.length ? new Set(boxes.filter(function (box) { return box.checked; }).map(function (box) { return box.value; })) : null;
  }

  function filter(form) {
    var severities = ticked(form, "severity");
    var statuses = ticked(form, "status");
    var item = form.elements.question.value;
    var words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    var shown = 0;
    var all = 0;
    form.parentNode.querySelectorAll(".group").forEach(function (group) {
      var fits = severities.has(group.dataset.severity) && (!item || item === group.dataset.item);
      var title = group.querySelector("header").textContent.toLowerCase();
      var left = 0;
      group.querySelectorAll(".finding").forEach(function (finding) {
        var says = title + " " + finding.textContent.toLowerCase();
        var stays = fits && (!statuses || statuses.has(finding.dataset.status)) &&
          words.every(function (word) { return says.includes(word); });
        finding.hidden = !stays;
        left += stays ? 1 : 0;
        all += 1;
      });
      group.hidden = !left;
      shown += left;
    });
    form.querySelector("output").textContent = shown === all ? "All " + all + " findings are shown." : shown + " of " + all + " findings are shown.";
  }

  window.addEventListener("beforeprint", openForPrint);
  window.addEventListener("afterprint", foldAgain);
  document.querySelectorAll("form.filters").forEach(function (form) {
    form.hidden = false;
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("input", function () { filter(form); });
    filter(form);
  });
})();
