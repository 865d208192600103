// An application as the documentation of express-session and connect-redis
// shows it. SECRETS are separated by commas, MAX_AGE is in milliseconds.
// ROLLING sends the cookie again with each answer, and PASSPORT logs in with it.
import express from 'express'
import session from 'express-session'
import { RedisStore } from 'connect-redis'
import passport from 'passport'
import { createClient } from 'redis'

const client = createClient({ url: `redis://${process.env.REDIS}` })
await client.connect()

const app = express()
app.use(session({
  store: new RedisStore({ client }),
  secret: process.env.SECRETS.split(','),
  resave: false,
  saveUninitialized: true,
  rolling: Boolean(process.env.ROLLING),
  cookie: { maxAge: Number(process.env.MAX_AGE || 3600000) }
}))
if (process.env.PASSPORT) {
  passport.serializeUser((user, done) => done(null, user.id))
  passport.deserializeUser((id, done) => done(null, { id }))
  app.use(passport.session())
  app.get('/login', (req, res, next) => {
    req.login({ id: 'id of ' + req.query.user }, err => {
      if (err) return next(err)
      req.session.user = req.query.user
      res.send('in')
    })
  })
}
app.get('/login', (req, res, next) => {
  req.session.regenerate(err => {
    if (err) return next(err)
    req.session.user = req.query.user
    res.send('in')
  })
})
app.get('/change', (req, res) => {
  req.session.user = req.query.user
  res.send('changed')
})
app.get('/logout', (req, res, next) => {
  req.session.destroy(err => err ? next(err) : res.send('out'))
})
app.get('/', (req, res) => res.send(req.session.user || ''))
app.listen(Number(process.env.PORT), '127.0.0.1')
