-- Run by test_cnf.py: read configuration files and print what they say, a line each, cells apart by tabs, values in hex.
-- With a third argument, also those that are excerpts, as the folder's reader does.
local modules, names, excerpts = arg[1], arg[2], arg[3]
local part = dofile(modules .. "/plain.lua").connected(function(name) return loadfile(modules .. "/" .. name .. ".lua") end)
local cnf, excerpt = part.cnf, part.excerpt

local function hex(text)
    return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- What is not ASCII is not decoded: ? stands for it.
local function ascii(text)
    return hex((text:gsub("[\128-\255]+", "?")))
end

for path in io.lines(names) do
    local handle = assert(io.open(path, "rb"))
    local content = handle:read("*a")
    handle:close()
    local started = os.clock()
    local file, problem = cnf.read(path, content)
    if excerpts and not file then
        local why
        file, why = excerpt.read(path, content)
        problem = why or problem
    end
    assert(os.clock() - started < 10, path .. ": for ever")
    local cells
    if file then
        cells = { "FILE", file.device, file.kind, file.urls and "group" or "none", ascii(file.hash_algorithm or "") }
        cells[#cells + 1] = (file.host_id_check or ""):match("^[01]$") or ""
        for _, url in ipairs(file.urls or {}) do
            local where = url.head_end and url.head_end.host .. " " .. url.head_end.port or ""
            where = url.text:find("[\128-\255]") and "?" or where
            cells[#cells + 1] = ("url%d=%s=%s"):format(url.number, ascii(url.text), hex(where))
        end
        for _, item in ipairs(file.hashes or {}) do
            cells[#cells + 1] = ("hash%d=%s=%s"):format(item.number, ascii(item.text), hex(item.digest or ""))
        end
    else
        cells = { "PROBLEM", problem }
    end
    io.write(table.concat(cells, "\t"), "\n")
end
