// Package extract turns bytes and an address into facts with the text they
// rest on. It has no network and no clock: the same bytes give the same facts.
//
// Page reads a page or a JSON document, Facts.Record hands the result to the
// pipeline, Identify brings links and addresses into canonical form, and
// ParseRobots says what a site lets us read.
package extract
