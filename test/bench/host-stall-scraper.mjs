import { scrape } from './scrape.mjs'

// The scraper of host-stall.mjs, a process of its own: once a second it scrapes the port that it was told last, and tells
// how many bytes came. 0 stands for no port.

let port = 0
process.on('message', (message) => {
  port = Number(message)
})
process.once('disconnect', () => process.exit())

let isUnderWay = false
setInterval(() => {
  if (port === 0 || isUnderWay) return
  isUnderWay = true
  void scrape(port).then(({ bytes }) => {
    isUnderWay = false
    process.send?.(bytes)
  })
}, 1000)
