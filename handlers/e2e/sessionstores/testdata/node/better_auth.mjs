// An application as the documentation of Better Auth shows it, with Redis as
// its secondary storage.
import http from 'node:http'
import { betterAuth } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import { toNodeHandler, fromNodeHeaders } from 'better-auth/node'
import { redisStorage } from '@better-auth/redis-storage'
import { Redis } from 'ioredis'

const [host, port] = process.env.REDIS.split(':')
const auth = betterAuth({
  baseURL: `http://127.0.0.1:${process.env.PORT}`,
  secret: process.env.SECRETS.split(',')[0],
  database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
  secondaryStorage: redisStorage({ client: new Redis({ host, port: Number(port) }) }),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  session: { expiresIn: Number(process.env.MAX_AGE || 3600000) / 1000 }
})
const handler = toNodeHandler(auth)
http.createServer(async (req, res) => {
  const url = new URL(req.url, 'http://127.0.0.1')
  if (url.pathname.startsWith('/api/auth')) return handler(req, res)
  let headers = new Headers()
  let body = ''
  try {
    switch (url.pathname) {
      case '/login': {
        const user = url.searchParams.get('user')
        const answer = await auth.api.signUpEmail({
          body: { name: user, email: `${user}-${Date.now()}@example.com`, password: 'correct horse battery' },
          returnHeaders: true
        })
        headers = answer.headers
        break
      }
      case '/change':
        await auth.api.updateUser({ body: { name: url.searchParams.get('user') }, headers: fromNodeHeaders(req.headers) })
        break
      case '/logout': {
        const answer = await auth.api.signOut({ headers: fromNodeHeaders(req.headers), returnHeaders: true })
        headers = answer.headers
        break
      }
      default: {
        const session = await auth.api.getSession({ headers: fromNodeHeaders(req.headers) })
        body = session ? session.user.name : ''
      }
    }
    for (const cookie of headers.getSetCookie()) res.appendHeader('Set-Cookie', cookie)
    res.end(body)
  } catch (err) {
    res.statusCode = 500
    res.end(String(err && err.stack))
  }
}).listen(Number(process.env.PORT), '127.0.0.1')
